package shm

import (
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
