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

// setLength stores the length of the record at pos. A plain store: what makes it
// visible is the store of tail, and two atomic ones would each wait for a cache
// line that the reader has.
func (o *ring) setLength(pos uint64, n int) {
	*(*uint64)(unsafe.Pointer(o.length(pos))) = uint64(n)
}
