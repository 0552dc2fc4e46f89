//go:build amd64

package shm

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// stringCopy says that the string instruction is fast here. The race detector
// sees what Go's copy reads and writes, not what assembly does.
var stringCopy = cpu.X86.HasERMS && !raceEnabled

//go:noescape
func repMovsb(dst, src unsafe.Pointer, n uintptr)

// moveString copies src, which is not empty, to dst, which is as long.
func moveString(dst, src []byte) {
	repMovsb(unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), uintptr(len(src)))
}
