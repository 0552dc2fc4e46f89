package shm

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A Prot says what a mapping may be used for.
type Prot int

// The protections. Nothing is ever mapped for execution.
const (
	ReadOnly  Prot = unix.PROT_READ
	ReadWrite Prot = unix.PROT_READ | unix.PROT_WRITE
)

// A Mapping is a window on an [Object]: a piece of this process's memory that
// is the object's own. It stays valid after the object is closed.
//
// Slices and pointers into it (Bytes, [At], [SliceAt]) must not be used after
// Close: the memory is gone then, and a use of it ends the program as any wild
// pointer does. Its methods may be called concurrently, but Close only when
// nobody uses the bytes any more.
type Mapping struct {
	mu  sync.Mutex
	mem []byte // nil once closed
}

// Map maps length bytes of the object from off on, which must be a multiple of
// the page size. length 0 means all the rest. What lies outside the object is
// refused with EINVAL.
func (o *Object) Map(off int64, length int, prot Prot) (*Mapping, error) {
	if length == 0 && off >= 0 && off < o.size {
		length = int(o.size - off)
	}
	if off < 0 || length < 1 || int64(length) > o.size || off > o.size-int64(length) ||
		off%int64(os.Getpagesize()) != 0 {
		return nil, fmt.Errorf("shm: map %d bytes at %d of %d bytes (pages of %d): %w",
			length, off, o.size, os.Getpagesize(), unix.EINVAL)
	}
	var mem []byte
	err := control(o.file, func(fd int) (err error) {
		mem, err = mmap(fd, off, length, int(prot))
		return os.NewSyscallError("mmap", err)
	})
	if err != nil {
		return nil, err
	}
	return &Mapping{mem: mem}, nil
}

// Bytes returns the mapped memory itself, nil after Close. Writing to a
// read-only mapping ends the program.
func (m *Mapping) Bytes() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mem
}

// Close unmaps the memory. A second Close returns os.ErrClosed.
func (m *Mapping) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mem == nil {
		return os.ErrClosed
	}
	mem := m.mem
	m.mem = nil
	return os.NewSyscallError("munmap", munmap(mem))
}
