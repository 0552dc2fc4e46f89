package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// An Object is a piece of memory that processes may share, known by a
// descriptor. It has no bytes but the user's.
//
// Its methods may be called concurrently.
type Object struct {
	file     *os.File
	size     int64  // when it was made or opened
	fixed    bool   // nobody can change the size
	writable []byte // of a creator whose peers only read: made before the seal

	mu       sync.Mutex
	mappings int // open ones; they need the file, too
	closed   bool
}

// FromFile makes an object of an open descriptor, as it came from another
// process. It takes ownership of f, also when it fails. Memory that a peer can
// shrink is refused with EPERM unless attr allows it; named objects are such. A
// nil f is refused with EINVAL.
func FromFile(f *os.File, attr *Attr) (*Object, error) {
	if f == nil {
		return nil, fmt.Errorf("shm: FromFile of no file: %w", unix.EINVAL)
	}
	var st unix.Stat_t
	var seals int
	err := control(f, func(fd int) error {
		if err := unix.Fstat(fd, &st); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		s, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		switch err {
		case nil:
			seals = s
		case unix.EINVAL: // memory of a kind that has no seals
		default:
			return os.NewSyscallError("fcntl", err)
		}
		return nil
	})
	if err == nil {
		err = regular(&st)
	}
	if err == nil {
		err = checkSize(st.Size)
	}
	if err == nil && seals&unix.F_SEAL_SHRINK == 0 && (attr == nil || !attr.AllowUnsealed) {
		err = fmt.Errorf("not sealed against shrinking: %w", unix.EPERM)
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "shm", Path: f.Name(), Err: err}
	}
	const both = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	return &Object{file: f, size: st.Size, fixed: seals&both == both}, nil
}

// Size returns the object's size in bytes, as it is now. After Close it is the
// size that the object had at first.
func (o *Object) Size() int64 {
	size, err := o.sizeNow()
	if err != nil {
		return o.size
	}
	return size
}

func (o *Object) sizeNow() (int64, error) {
	if o.fixed {
		return o.size, nil
	}
	var st unix.Stat_t
	err := control(o.file, func(fd int) error { return os.NewSyscallError("fstat", unix.Fstat(fd, &st)) })
	return st.Size, err
}

// File returns the descriptor, which stays the object's own: don't close it.
func (o *Object) File() *os.File { return o.file }

// Close ends the use of the object: its other methods return os.ErrClosed from
// now on, and so does a second Close. Mappings stay as they are; the descriptor
// is closed with the last of them, as Sweep knows by it that the object is used.
func (o *Object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return os.ErrClosed
	}
	o.closed = true
	if o.mappings > 0 {
		return nil
	}
	return o.release()
}

// retain counts a mapping, drop its end.
func (o *Object) retain() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return os.ErrClosed
	}
	o.mappings++
	return nil
}

func (o *Object) drop() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mappings--
	if o.mappings > 0 || !o.closed {
		return nil
	}
	return o.release()
}

// release gives back what the object holds.
func (o *Object) release() error {
	var err error
	if o.writable != nil {
		err = os.NewSyscallError("munmap", munmap(o.writable))
		o.writable = nil
	}
	return errors.Join(err, o.file.Close())
}

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
