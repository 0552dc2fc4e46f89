package shm

import (
	"runtime"
	"unsafe"

	"github.com/rawipc/rawipc/futex"
)

// isSmall reports whether a T is one word of memory. It is a constant in the
// code for each T.
func isSmall[T any]() bool {
	var x T
	return unsafe.Sizeof(x) <= smallSize
}

// fromWord returns the T at the lowest addresses of w. T is small.
func fromWord[T any](w uint64) T { return *(*T)(unsafe.Pointer(&w)) }

// lowFirst is set where a word's lowest byte is known to come first. It only
// spares the way over memory, where a word is stored in parts and loaded whole,
// which CPUs are slow at.
const lowFirst = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// asWord returns a word with x at its lowest addresses and zeros behind. T is
// small.
func asWord[T any](x T) (w uint64) {
	if lowFirst {
		switch unsafe.Sizeof(x) {
		case 8:
			return *(*uint64)(unsafe.Pointer(&x))
		case 4:
			return uint64(*(*uint32)(unsafe.Pointer(&x)))
		case 2:
			return uint64(*(*uint16)(unsafe.Pointer(&x)))
		case 1:
			return uint64(*(*uint8)(unsafe.Pointer(&x)))
		}
	}
	*(*T)(unsafe.Pointer(&w)) = x
	return w
}

// toWord is asWord without what is between x's fields.
func (v *Value[T]) toWord(x T) uint64 {
	w := asWord(x)
	if len(v.gaps) > 0 {
		clearSpans(unsafe.Slice((*byte)(unsafe.Pointer(&w)), smallSize), v.gaps)
	}
	return w
}

// clearGaps zeroes what is between the fields of a copy.
func (v *Value[T]) clearGaps(p *T) {
	if len(v.gaps) > 0 {
		clearSpans(unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p)), v.gaps)
	}
}

func clearSpans(b []byte, spans []span) {
	for _, s := range spans {
		clear(b[s.from:s.to])
	}
}

// sliceOf returns n values of T, one at least, from mem's byte off on.
func sliceOf[T any](mem []byte, off, n int) ([]T, error) {
	first, err := futex.At[T](mem, off)
	if err != nil {
		return nil, err
	}
	if size := int(unsafe.Sizeof(*first)); size > 0 && n > (len(mem)-off)/size {
		return nil, sizeError[T](n, off, len(mem))
	}
	return unsafe.Slice(first, n), nil
}
