package main

import (
	"os"
	"testing"

	"github.com/rawipc/rawipc/proc"
)

func TestMain(m *testing.M) {
	proc.Dispatch()
	os.Exit(m.Run())
}
