package mq

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// An Attr says what a new queue is like. With both numbers 0 they are the
// defaults: 10 messages of 8192 bytes, or what the kernel allows if that is
// less. One of them alone must not be 0.
type Attr struct {
	MaxMessages int         // at most in the queue (limit: fs.mqueue.msg_max)
	MessageSize int         // at most in a message, bytes (limit: fs.mqueue.msgsize_max)
	Mode        fs.FileMode // permission bits, less the umask; 0 means 0o600
}

// Create makes a new queue and opens it for both directions. The name is a slash
// and 1 to 255 bytes without one. A nil attr means the defaults. It doesn't
// block.
//
// Errors are of type [*os.PathError]: [os.ErrExist] if the name is taken;
// EINVAL, EMFILE or ENOSPC with the limit that is in the way; EINVAL for a mode
// with more than permission bits.
func Create(name string, attr *Attr) (*Queue, error) {
	if err := checkName(name); err != nil {
		return nil, openError(name, err)
	}
	var a Attr
	if attr != nil {
		a = *attr
	}
	if a.MaxMessages == 0 && a.MessageSize == 0 {
		a.MaxMessages = min(10, sysctl("msg_max", 10))
		a.MessageSize = min(8192, sysctl("msgsize_max", 8192))
	}
	if a.Mode&^fs.ModePerm != 0 {
		return nil, openError(name, fmt.Errorf("mode %#o, want permission bits only: %w", uint32(a.Mode), unix.EINVAL))
	}
	if a.MaxMessages <= 0 || a.MessageSize <= 0 {
		return nil, openError(name, explainCreate(unix.EINVAL, a))
	}
	if a.Mode == 0 {
		a.Mode = 0o600
	}
	ka := kernelAttr{maxmsg: a.MaxMessages, msgsize: a.MessageSize}
	fd, err := mqOpen(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NONBLOCK|unix.O_CLOEXEC, uint32(a.Mode), &ka)
	if err != nil {
		return nil, openError(name, explainCreate(err, a))
	}
	q := new(Queue)
	if err := q.init(fd); err != nil {
		_ = mqUnlink(name) // ours, a moment old
		return nil, openError(name, err)
	}
	return q, nil
}

// Open opens an existing queue; mode is os.O_RDONLY, os.O_WRONLY or os.O_RDWR.
// It doesn't block. Errors are of type [*os.PathError]: [os.ErrNotExist],
// [os.ErrPermission] and others of the system call.
func Open(name string, mode int) (*Queue, error) {
	if err := checkName(name); err != nil {
		return nil, openError(name, err)
	}
	if mode != os.O_RDONLY && mode != os.O_WRONLY && mode != os.O_RDWR {
		return nil, openError(name, fmt.Errorf("mode %#x is none of O_RDONLY, O_WRONLY, O_RDWR: %w", mode, unix.EINVAL))
	}
	fd, err := mqOpen(name, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0, nil)
	if err != nil {
		return nil, openError(name, explainOpen(err))
	}
	q := new(Queue)
	if err := q.init(fd); err != nil {
		return nil, openError(name, err)
	}
	return q, nil
}

// Unlink removes the name. Those who have the queue open go on using it; it
// ends with the last of them. Errors are of type [*os.PathError], such as
// [os.ErrNotExist].
func Unlink(name string) error {
	err := checkName(name)
	if err == nil {
		err = mqUnlink(name)
	}
	if err == unix.EPERM {
		err = unix.EACCES // what POSIX has for it
	}
	if err != nil {
		return &os.PathError{Op: "mq_unlink", Path: name, Err: err}
	}
	return nil
}

func openError(name string, err error) error {
	return &os.PathError{Op: "mq_open", Path: name, Err: err}
}

// checkName refuses what the kernel would refuse with an error that leads
// elsewhere, or would take for another name.
func checkName(name string) error {
	rest, slash := strings.CutPrefix(name, "/")
	switch {
	case !slash:
		return fmt.Errorf("the name must begin with a slash: %w", unix.EINVAL)
	case rest == "", rest == ".", rest == "..":
		return fmt.Errorf("the name needs more than that behind the slash: %w", unix.EINVAL)
	case strings.ContainsAny(rest, "/\x00"):
		return fmt.Errorf("no second slash and no zero byte in the name: %w", unix.EINVAL)
	case len(rest) > unix.NAME_MAX:
		return fmt.Errorf("%d bytes behind the slash, at most %d: %w", len(rest), unix.NAME_MAX, unix.ENAMETOOLONG)
	}
	return nil
}

// init makes q a Queue over fd, which it owns: an error closes it.
func (q *Queue) init(fd int) error {
	a, err := mqGetAttr(fd)
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("mq: the descriptor is no message queue: %w", os.NewSyscallError("mq_getsetattr", err))
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	q.d, q.size = newDescriptor(fd), a.msgsize
	q.in.init(q.d, unix.EPOLLIN, &q.in)
	q.in.once = func(fd uintptr) { q.in.now = q.in.attempt(fd) }
	q.out.init(q.d, unix.EPOLLOUT, &q.out)
	q.out.once = func(fd uintptr) { q.out.now = q.out.attempt(fd) }
	return nil
}
