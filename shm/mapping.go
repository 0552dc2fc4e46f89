package shm

import (
	"errors"
	"fmt"
	"math"
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
// pointer does. They fault as well where a peer has shrunk an object that is
// not sealed. ReadAt and WriteAt have neither trap.
//
// Its methods may be called concurrently, also with Close; but Close only when
// nobody uses the bytes any more.
type Mapping struct {
	obj  *Object
	off  int64
	prot Prot

	mu   sync.RWMutex // held while bytes are copied: Close waits for that
	mem  []byte       // nil once closed
	old  [][]byte     // what mem was before Remap; may still be pointed into
	view bool         // mem is a part of obj.writable
}

// Map maps length bytes of the object from off on, which must be a multiple of
// the page size. length 0 means all the rest. What lies outside the object is
// refused with EINVAL, writing where the object was opened for reading with
// EACCES.
func (o *Object) Map(off int64, length int, prot Prot) (*Mapping, error) {
	if prot != ReadOnly && prot != ReadWrite {
		return nil, fmt.Errorf("shm: map with protection %#x, want ReadOnly or ReadWrite: %w", int(prot), unix.EINVAL)
	}
	if err := o.retain(); err != nil {
		return nil, err
	}
	m := &Mapping{obj: o, off: off, prot: prot, view: prot == ReadWrite && o.writable != nil}
	if err := m.set(length); err != nil {
		o.drop()
		return nil, err
	}
	return m, nil
}

// set makes mem the length bytes of the object from m.off on.
func (m *Mapping) set(length int) error {
	length, err := m.obj.span(m.off, length)
	if err != nil || length == len(m.mem) {
		return err
	}
	if m.view {
		m.mem = m.obj.writable[m.off:][:length:length]
		return nil
	}
	var mem []byte
	err = control(m.obj.file, func(fd int) (err error) {
		mem, err = mmap(fd, m.off, length, int(m.prot))
		return os.NewSyscallError("mmap", err)
	})
	if err != nil {
		return err
	}
	if m.mem != nil {
		m.old = append(m.old, m.mem)
	}
	m.mem = mem
	return nil
}

// span checks what is to be mapped against the size that the object has now.
func (o *Object) span(off int64, length int) (int, error) {
	size, err := o.sizeNow()
	if err != nil {
		return 0, err
	}
	if length == 0 && off >= 0 && off < size {
		length = int(min(size-off, math.MaxInt))
	}
	if off < 0 || length < 1 || int64(length) > size || off > size-int64(length) ||
		off%int64(os.Getpagesize()) != 0 {
		return 0, fmt.Errorf("shm: map %d bytes at %d of %d bytes (pages of %d): %w",
			length, off, size, os.Getpagesize(), unix.EINVAL)
	}
	return length, nil
}

// Bytes returns the mapped memory itself, nil after Close. Writing to a
// read-only mapping ends the program.
func (m *Mapping) Bytes() []byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.mem
}

// Remap makes the mapping length bytes long, 0: up to the object's end as it is
// now. So one follows an object that has grown. The memory may be elsewhere
// afterwards; what Bytes, [At] and [SliceAt] returned before stays valid until
// Close, and is the same bytes of the object. On an error the mapping stays as
// it is.
func (m *Mapping) Remap(length int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mem == nil {
		return os.ErrClosed
	}
	return m.set(length)
}

// Close unmaps the memory, after the ReadAt and WriteAt that are under way. A
// second Close returns os.ErrClosed.
func (m *Mapping) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mem == nil {
		return os.ErrClosed
	}
	var err error
	if !m.view {
		for _, mem := range append(m.old, m.mem) {
			err = errors.Join(err, os.NewSyscallError("munmap", munmap(mem)))
		}
	}
	m.mem, m.old = nil, nil
	return errors.Join(err, m.obj.drop())
}
