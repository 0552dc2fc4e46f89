package fuzz_test

import (
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/rawipc/rawipc/fuzz"
)

// Everything is written over, and the memory around it is not.
func TestScribble(t *testing.T) {
	words := make([]uint64, 34)
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&words[1])), 32*8)
	var changed [34]bool
	seen := func() (all bool) {
		all = true
		for i := range words {
			changed[i] = changed[i] || atomic.LoadUint64(&words[i]) != 0
			all = all && (changed[i] || i == 0 || i == 33)
		}
		return all
	}
	fuzz.Scribble(mem, 1, seen)
	if changed[0] || changed[33] {
		t.Error("it wrote outside")
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for memory of three bytes")
		}
	}()
	fuzz.Scribble(mem[:3], 1, nil)
}
