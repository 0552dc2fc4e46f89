package shm

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// ReadAt copies bytes of the mapping from off on into p, as io.ReaderAt: io.EOF
// comes with what is there when the mapping ends before p does. Where a peer
// took the memory away, which it can't with a sealed object, the error is
// EFAULT; so is WriteAt's.
//
// Both may be called concurrently, also with Close: then they come first, or
// return os.ErrClosed. Neither is atomic: who reads while somebody writes the
// same bytes may see a part of each.
func (m *Mapping) ReadAt(p []byte, off int64) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.checkAt(off); err != nil {
		return 0, err
	}
	if off >= int64(len(m.mem)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n, err := copyOut(p, m.mem[off:], m.mem)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt copies p into the mapping from off on, as io.WriterAt. What does not
// fit is not written at all: the error is EINVAL, for a mapping that is
// read-only EACCES. See [Mapping.ReadAt] for the rest.
func (m *Mapping) WriteAt(p []byte, off int64) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.checkAt(off); err != nil {
		return 0, err
	}
	if m.prot&unix.PROT_WRITE == 0 {
		return 0, fmt.Errorf("shm: write to a read-only mapping: %w", unix.EACCES)
	}
	if off > int64(len(m.mem)) || len(p) > len(m.mem)-int(off) {
		return 0, fmt.Errorf("shm: write of %d bytes at %d to a mapping of %d: %w", len(p), off, len(m.mem), unix.EINVAL)
	}
	return copyOut(m.mem[off:], p, m.mem)
}

func (m *Mapping) checkAt(off int64) error {
	if m.mem == nil {
		return os.ErrClosed
	}
	if off < 0 {
		return fmt.Errorf("shm: offset %d: %w", off, unix.EINVAL)
	}
	return nil
}

// copyOut is copy, of which the faults in mem become an error: n is then what was
// copied for sure. The descriptor would do as well (pread never faults), but a
// call into the kernel takes longer than the copy of a small record.
func copyOut(dst, src, mem []byte) (n int, err error) {
	total := min(len(dst), len(src))
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = faultIn(mem, r)
		}
	}()
	if overlap(dst[:total], src[:total]) { // the bytes' order matters: no pieces
		return copy(dst, src), nil
	}
	for n < total {
		end := min(n+longPiece, total)
		copyLong(dst[n:end], src[n:end])
		n = end
	}
	return n, nil
}

// faultIn makes an error of the panic that a fault in mem is; any other goes on.
func faultIn(mem []byte, r any) error {
	fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok || offsetIn(mem, fault.Addr()) >= uintptr(len(mem)) {
		panic(r)
	}
	return fmt.Errorf("shm: fault at offset %d of %d: a peer took the memory away: %w",
		offsetIn(mem, fault.Addr()), len(mem), unix.EFAULT)
}
