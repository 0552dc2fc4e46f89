package shm

import (
	"os"
	"reflect"
	"unsafe"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// This file maps memory and makes typed pointers into it.

func mmap(fd int, off int64, length, prot int) ([]byte, error) {
	p, err := unix.MmapPtr(fd, off, nil, uintptr(length), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), length), nil
}

// mmapTwice maps length bytes of fd from 0 on, and after them the last tail
// bytes once more: what wraps round the end of the tail is in one piece there.
func mmapTwice(fd int, length, tail int) ([]byte, error) {
	// The room is taken first, so that the second mapping can't hit another's.
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(length+tail), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	mem := unsafe.Slice((*byte)(p), length+tail)
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_FIXED
	if _, err = unix.MmapPtr(fd, 0, p, uintptr(length), prot, flags); err == nil {
		_, err = unix.MmapPtr(fd, int64(length-tail), unsafe.Add(p, length), uintptr(tail), prot, flags)
	}
	if err != nil {
		munmap(mem)
		return nil, err
	}
	return mem, nil
}

func munmap(mem []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
}

// offsetIn is where in mem an address lies; beyond its end if it does not.
func offsetIn(mem []byte, addr uintptr) uintptr {
	return addr - uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
}

// At returns the T at byte offset off of the mapping: the memory itself, not a
// copy, valid until the mapping is closed. T must be free of pointers, lie
// inside the mapping and be aligned; else the error names what is wrong. After
// Close it is os.ErrClosed.
func At[T any](m *Mapping, off int) (*T, error) {
	p, _, err := at[T](m, off)
	return p, err
}

// at also returns the mapping's length.
func at[T any](m *Mapping, off int) (p *T, length int, err error) {
	mem := m.Bytes()
	if mem == nil {
		return nil, 0, os.ErrClosed
	}
	if err = fitsAt(reflect.TypeFor[T](), off, len(mem)); err != nil {
		return nil, 0, err
	}
	p, err = futex.At[T](mem, off)
	return p, len(mem), err
}

// SliceAt returns n values of T from byte offset off of the mapping on, as
// [At] does.
func SliceAt[T any](m *Mapping, off, n int) ([]T, error) {
	first, have, err := at[T](m, off)
	if err != nil {
		return nil, err
	}
	size := int(reflect.TypeFor[T]().Size())
	if n < 0 || size > 0 && n > (have-off)/size {
		return nil, sizeError[T](n, off, have)
	}
	return unsafe.Slice(first, n), nil
}

// overlap reports whether a and b have bytes in common.
func overlap(a, b []byte) bool {
	at, bt := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return at-bt < uintptr(len(b)) || bt-at < uintptr(len(a))
}
