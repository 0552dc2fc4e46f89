package shm

import (
	"sync/atomic"
	"unsafe"
)

// record is where the record at position pos lies. Positions are multiples of 8
// and lie within data by the mask, whatever a peer wrote; data is there twice in a
// row, so that each record is in one piece.
func (o *ring) record(pos uint64) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(o.data)), pos&(o.size-1)&^7)
}

// length is the length word of the record at position pos.
func (o *ring) length(pos uint64) *atomic.Uint64 { return (*atomic.Uint64)(o.record(pos)) }

// setLength stores the length of the record at pos. A plain store: what makes it
// visible is the store of tail, and two atomic ones would each wait for a cache
// line that the reader has.
func (o *ring) setLength(pos uint64, n int) { *(*uint64)(o.record(pos)) = uint64(n) }

// put makes msg the record at pos, where the caller has seen room for it. The
// call of a copy costs more than all the rest where it has one word to copy.
func (o *ring) put(pos uint64, msg []byte) {
	p := o.record(pos)
	*(*uint64)(p) = uint64(len(msg))
	if p = unsafe.Add(p, recordHead); len(msg) == 8 {
		*(*uint64)(p) = *(*uint64)(unsafe.Pointer(unsafe.SliceData(msg)))
		return
	}
	copy(unsafe.Slice((*byte)(p), len(msg)), msg)
}

// get fills buf from the record at pos, which the caller has seen to be as long.
func (o *ring) get(pos uint64, buf []byte) {
	p := unsafe.Add(o.record(pos), recordHead)
	if len(buf) == 8 {
		*(*uint64)(unsafe.Pointer(unsafe.SliceData(buf))) = *(*uint64)(p)
		return
	}
	copy(buf, unsafe.Slice((*byte)(p), len(buf)))
}
