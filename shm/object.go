package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// An Attr says what [CreateAnon] and [FromFile] may do beyond their defaults.
// A nil *Attr stands for the defaults.
type Attr struct {
	// AllowUnsealed makes FromFile accept a descriptor whose memory a peer
	// could shrink. Bytes of such memory may fault after the peer did.
	AllowUnsealed bool
}

// An Object is a piece of memory that processes may share, known by a
// descriptor. It has no bytes but the user's.
//
// Its methods may be called concurrently.
type Object struct {
	file *os.File
	size int64
}

// CreateAnon makes an object of size bytes (at least 1), all zero, that has no
// name: it lives as long as some process has it open or mapped, so nothing is
// left behind when all are killed. Its size is sealed. label (at most 249
// bytes) is shown in /proc/PID/maps, nothing else.
//
// The memory is allocated at once; where there is not enough the error is
// ENOMEM (or ENOSPC) and names how much was wanted and how much there is. attr
// may be nil.
func CreateAnon(label string, size int64, attr *Attr) (*Object, error) {
	if size < 1 || int64(int(size)) != size {
		return nil, &fs.PathError{Op: "memfd_create", Path: label,
			Err: fmt.Errorf("size %d, want 1 or more: %w", size, unix.EINVAL)}
	}
	if err := checkRoom(size); err != nil {
		return nil, &fs.PathError{Op: "memfd_create", Path: label, Err: err}
	}
	fd, err := memfd(label)
	if err != nil {
		return nil, &fs.PathError{Op: "memfd_create", Path: label, Err: err}
	}
	f := os.NewFile(uintptr(fd), "memfd:"+label)
	if err := ignoringEINTR(func() error { return unix.Fallocate(fd, 0, 0, size) }); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "fallocate", Path: label, Err: fmt.Errorf("%d bytes: %w", size, err)}
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "seal", Path: label, Err: err}
	}
	return &Object{file: f, size: size}, nil
}

// memfd prefers a memory file that can never be executed; kernels before 6.3
// don't know that flag and say EINVAL, as they do for a label that is too long.
func memfd(label string) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(label, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(label, flags)
	}
	return fd, err
}

// FromFile makes an object of an open descriptor, as it came from another
// process. It takes ownership of f, also when it fails. Memory that a peer can
// shrink is refused with EPERM unless attr allows it.
func FromFile(f *os.File, attr *Attr) (*Object, error) {
	var st unix.Stat_t
	var seals int
	err := control(f, func(fd int) error {
		if err := unix.Fstat(fd, &st); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		s, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		if err == nil {
			seals = s
		}
		return nil
	})
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("mode %#o is not a regular file: %w", st.Mode, unix.EINVAL)
	case st.Size < 1 || int64(int(st.Size)) != st.Size:
		err = fmt.Errorf("size %d: %w", st.Size, unix.EINVAL)
	case seals&unix.F_SEAL_SHRINK == 0 && (attr == nil || !attr.AllowUnsealed):
		err = fmt.Errorf("not sealed against shrinking: %w", unix.EPERM)
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "shm", Path: f.Name(), Err: err}
	}
	return &Object{file: f, size: st.Size}, nil
}

// Size returns the object's size in bytes.
func (o *Object) Size() int64 { return o.size }

// File returns the descriptor, which stays the object's own: don't close it.
func (o *Object) File() *os.File { return o.file }

// Close closes the descriptor. Mappings stay as they are. A second Close
// returns os.ErrClosed.
func (o *Object) Close() error { return o.file.Close() }

// control runs f on the raw descriptor, which can't be closed meanwhile.
func control(file *os.File, f func(fd int) error) error {
	c, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := c.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		if errors.Is(err, os.ErrClosed) {
			return os.ErrClosed
		}
		return err
	}
	return ferr
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
