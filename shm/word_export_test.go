package shm

import (
	"sync/atomic"
	"unsafe"
)

// WriteWord stores v at mem[at:], in one piece.
func WriteWord(mem []byte, at int, v uint64) {
	(*atomic.Uint64)(unsafe.Pointer(&mem[at])).Store(v)
}
