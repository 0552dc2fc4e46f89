package pipe

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MaxFiles is how many descriptors can travel with one message (the kernel's
// SCM_MAX_FD).
const MaxFiles = 253

// ErrFiles says that the descriptors of a message didn't all reach the caller
// of RecvFiles, which then gets none of them.
var ErrFiles = errors.New("pipe: descriptors of a message are lost")

// SendFiles is [Conn.Send] of a message with descriptors: it blocks until the
// kernel has taken it, or ctx ends. The receiver gets
// descriptors of its own for the same open files, so the sender may close its
// files as soon as SendFiles has returned. It needs a local socket (Pair,
// PacketPair, Listen, Dial).
//
// The descriptors go with the first byte of the message: after a
// [*PartialError] they are on their way, as the message is; after any other
// error nothing is.
//
// Errors: those of Send; EINVAL for more than [MaxFiles] files; EOPNOTSUPP for
// a pipe, a FIFO or a socket that isn't local; ETOOMANYREFS if this user has
// as many descriptors on their way, sent and not yet received, as
// RLIMIT_NOFILE allows; EPERM if the receiver has SO_PASSRIGHTS switched off;
// [os.ErrInvalid] for a nil file and [os.ErrClosed] for a closed one. Any
// number of goroutines may call it at once.
func (c *Conn) SendFiles(ctx context.Context, msg []byte, files ...*os.File) error {
	if err := c.ready(c.mode.write, "sendmsg"); err != nil {
		return err
	}
	switch {
	case len(files) == 0:
		return c.Send(ctx, msg)
	case !c.mode.local:
		return notLocal("sendmsg")
	case len(files) > MaxFiles:
		return fmt.Errorf("pipe: %d files with one message, at most %d can be sent: %w", len(files), MaxFiles, os.NewSyscallError("sendmsg", unix.EINVAL))
	}
	fds := make([]int, 0, len(files))
	var err error
	if bad := borrow(files, &fds, func() { _, err = c.out.send(ctx, c, msg, unix.UnixRights(fds...)) }); bad != nil {
		return bad
	}
	switch {
	case errors.Is(err, unix.ETOOMANYREFS):
		err = fmt.Errorf("pipe: too many descriptors of this user are sent and not yet received (RLIMIT_NOFILE): %w", err)
	case errors.Is(err, unix.EPERM):
		err = fmt.Errorf("pipe: the receiver accepts no descriptors (SO_PASSRIGHTS): %w", err)
	}
	return err
}

// borrow runs f while none of the files can be closed.
func borrow(files []*os.File, fds *[]int, f func()) error {
	if len(*fds) == len(files) {
		f()
		return nil
	}
	i := len(*fds)
	if files[i] == nil {
		return fmt.Errorf("pipe: file %d to send is nil: %w", i, os.ErrInvalid)
	}
	rc, err := files[i].SyscallConn()
	if err == nil {
		var inner error
		err = rc.Control(func(fd uintptr) {
			*fds = append(*fds, int(fd))
			inner = borrow(files, fds, f)
		})
		if err == nil {
			return inner
		}
	}
	return fmt.Errorf("pipe: file %d to send: %w", i, os.ErrClosed)
}

func notLocal(op string) error {
	return fmt.Errorf("pipe: descriptors travel over local sockets only: %w", os.NewSyscallError(op, unix.EOPNOTSUPP))
}

// RecvFiles is [Conn.Recv] of a message with at most max descriptors: it blocks
// until there is one, the peer has closed, or ctx ends. The files
// are the caller's to close; they are in the order in which they were sent, and
// close-on-exec. A message without descriptors gives none, and no error.
//
// Which message descriptors belong to does not depend on how the bytes arrive:
// it is the one whose bytes they were sent with. A peer that isn't this
// package must not put two messages into one sendmsg(2) with descriptors.
//
// Errors: those of Recv. And [ErrFiles], with n, for a message that has been
// received but whose descriptors have not: more than max came (a
// [*TooManyFilesError]), or the process has no room for them (then it wraps
// EMFILE). None is left open, the Conn stays usable. EOPNOTSUPP if c
// isn't a local socket. Any number of goroutines may call it at once.
func (c *Conn) RecvFiles(ctx context.Context, buf []byte, max int) (n int, files []*os.File, err error) {
	if err := c.ready(c.mode.read, "recvmsg"); err != nil {
		return 0, nil, err
	}
	switch {
	case max < 0:
		return 0, nil, fmt.Errorf("pipe: RecvFiles: max is %d: %w", max, os.ErrInvalid)
	case !c.mode.local:
		return 0, nil, notLocal("recvmsg")
	}
	if err := c.begin(ctx); err != nil {
		return 0, nil, err
	}
	defer c.endRecv()
	c.in.wantFiles = true
	n, err = c.in.recv(ctx, buf)
	c.in.wantFiles = false
	if err != nil {
		return 0, nil, err
	}
	files, err = c.in.takeFiles(max)
	return n, files, err
}

// A TooManyFilesError is an [ErrFiles] with its figures.
type TooManyFilesError struct {
	Files int // that came with the message
	Max   int // that RecvFiles was to accept
}

// Error says how many descriptors came, and how many were wanted.
func (e *TooManyFilesError) Error() string {
	return fmt.Sprintf("pipe: %d descriptors came with a message, at most %d accepted: all are closed", e.Files, e.Max)
}

// Unwrap returns [ErrFiles].
func (e *TooManyFilesError) Unwrap() error { return ErrFiles }
