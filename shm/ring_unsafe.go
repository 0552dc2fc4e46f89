package shm

import (
	"sync/atomic"
	"unsafe"
)

// length is the length word of the record at position pos. Positions are
// multiples of 8 and lie within data by the mask, whatever a peer wrote.
func (o *ring) length(pos uint64) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(o.data)), pos&(o.size-1)&^7))
}
