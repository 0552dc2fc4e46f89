//go:build race

package futex

import (
	"runtime"
	"unsafe"
)

// The race detector does not see atomics in memory that was mapped by hand, so
// what they order is told to it here. All primitives share one point: too many
// edges hide races between them, never invent one.
var racePoint byte

const raceOn = true

func raceAcquire() { runtime.RaceAcquire(unsafe.Pointer(&racePoint)) }
func raceRelease() { runtime.RaceReleaseMerge(unsafe.Pointer(&racePoint)) }
