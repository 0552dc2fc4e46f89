package futex

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WordAt returns the futex word at byte offset off of mem, which must be a
// multiple of 4 in memory and lie inside mem; else the error names what it is.
// The word is valid as long as mem is mapped.
func WordAt(mem []byte, off int) (*atomic.Uint32, error) {
	return At[atomic.Uint32](mem, off)
}

// At returns the T at byte offset off of mem: a typed view, not a copy. The T
// must lie inside mem, at its alignment, and its type must be fit for shared
// memory (see [CheckType]). The view is valid as long as mem is mapped.
func At[T any](mem []byte, off int) (*T, error) {
	if err := CheckType(reflect.TypeFor[T]()); err != nil {
		return nil, err
	}
	var zero T
	size, align := unsafe.Sizeof(zero), unsafe.Alignof(zero)
	if off < 0 || uintptr(len(mem)) < size || uintptr(off) > uintptr(len(mem))-size {
		return nil, fmt.Errorf("futex: %T (%d bytes) at offset %d of %d bytes: %w", zero, size, off, len(mem), unix.EINVAL)
	}
	p := unsafe.Add(unsafe.Pointer(unsafe.SliceData(mem)), off)
	if uintptr(p)%align != 0 {
		return nil, fmt.Errorf("futex: %T at offset %d is not aligned to %d bytes: %w", zero, off, align, unix.EINVAL)
	}
	return (*T)(p), nil
}

// shardOf spreads words by their place; words of one cache line fall together.
func shardOf(addr *atomic.Uint32) uintptr {
	return uintptr(unsafe.Pointer(addr)) / 64 % lineShards
}
