//go:build race

package shm

import (
	"runtime"
	"unsafe"
)

// The race detector does not see atomics in memory that was mapped by hand, so
// what they order is told to it here. All objects share one point: too many
// edges hide races between them, never invent one.
var racePoint byte

const raceEnabled = true

func raceAcquire()    { runtime.RaceAcquire(unsafe.Pointer(&racePoint)) }
func (s *seat) free() { s.state.Store(seatFree) }

func raceRelease() { runtime.RaceReleaseMerge(unsafe.Pointer(&racePoint)) }
