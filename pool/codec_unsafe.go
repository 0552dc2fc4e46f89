package pool

import (
	"sync/atomic"
	"unsafe"
)

// memoryOf is *v as it lies in memory, or the elements of the slice *v. There are
// no pointers in it.
func memoryOf[T any](f form, v *T) []byte {
	if f.items {
		s := bytesAt(v)
		return unsafe.Slice(unsafe.SliceData(*s), uintptr(len(*s))*f.size)
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// bytesAt is a slice of anything as one of bytes: it has the same head.
func bytesAt[T any](v *T) *[]byte { return (*[]byte)(unsafe.Pointer(v)) }

// allOf is the memory of the slice *v up to its capacity.
func allOf[T any](f form, v *T) []byte {
	s := bytesAt(v)
	return unsafe.Slice(unsafe.SliceData(*s), uintptr(cap(*s))*f.size)
}

// setItems makes b, which take made, the memory of the slice *v of n elements.
func setItems[T any](f form, v *T, b []byte, n int) {
	if f.size == 0 {
		*(*[]struct{})(unsafe.Pointer(v)) = make([]struct{}, n)
		return
	}
	*bytesAt(v) = unsafe.Slice(unsafe.SliceData(b), cap(b)/int(f.size))[:n]
}

// room is n bytes of new memory that is good for any type.
func room(n int) []byte {
	b := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// more adds 1 to a counter that only the caller changes. Others may see it a
// little later, and the caller doesn't wait until they can.
func more(c *atomic.Uint64) {
	if unsafe.Sizeof(uintptr(0)) < 8 {
		c.Add(1) // no two halves
		return
	}
	*(*uint64)(unsafe.Pointer(c))++
}

// bytesOf is s as bytes that nobody must change; textOf the way back.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func textOf(b []byte) string  { return unsafe.String(unsafe.SliceData(b), len(b)) }
