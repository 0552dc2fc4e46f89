package shm

import (
	"runtime"
	"sync/atomic"
)

// fence keeps plain loads and stores before it and those after it in order, as
// other CPUs see them. An atomic store followed by an atomic load does that:
// what is before a store stays before it, what is after a load stays after it,
// and the two keep their order as all such operations do. On amd64 nothing is
// needed where it is used: a load stays after earlier loads, a store after
// earlier stores, and Go's atomic stores are full barriers there.
func fence() {
	if runtime.GOARCH != "amd64" {
		var w atomic.Uint32
		w.Store(1)
		w.Load()
	}
}
