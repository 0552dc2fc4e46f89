package shm

import (
	"sync/atomic"
	"unsafe"

	"github.com/rawipc/rawipc/futex"
)

const queueStateSize = int(unsafe.Sizeof(queueState{}))

// stateAt is the state of the queue that is mapped at mem.
func stateAt(mem []byte) (*queueState, error) { return futex.At[queueState](mem, headerSize) }

// slotsAt are the n slots behind it. The header's check has seen that they fit.
func slotsAt[T any](mem []byte, n int) ([]T, error) {
	first, err := futex.At[T](mem, headerSize+queueStateSize)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice(first, n), nil
}

// length is the length word of the record at at, a multiple of 8 inside data.
func (q *MessageQueue) length(at uint64) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&q.data[at]))
}

// setLength stores it, plainly: the store of pos makes it visible.
func (q *MessageQueue) setLength(at uint64, n int) {
	*(*uint64)(unsafe.Pointer(q.length(at))) = uint64(n)
}

// stringBytes are the bytes of s, which must not be changed.
func stringBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
