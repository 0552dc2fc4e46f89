package pool

import "unsafe"

// memoryOf is *v as it lies in memory, or the elements of the slice *v. There are
// no pointers in it.
func memoryOf[T any](f form, v *T) []byte {
	if f.items {
		s := *(*[]byte)(unsafe.Pointer(v)) // a slice of anything has the same head
		return unsafe.Slice(unsafe.SliceData(s), uintptr(len(s))*f.size)
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// bytesOf is s as bytes that nobody must change; textOf the way back.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func textOf(b []byte) string  { return unsafe.String(unsafe.SliceData(b), len(b)) }
