package fuzz_test

import (
	"os"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

func TestMain(m *testing.M) {
	fuzz.Dispatch()
	os.Exit(m.Run())
}
