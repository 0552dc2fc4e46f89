package shm_test

import (
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

func TestMain(m *testing.M) { fuzz.Main(m) }
