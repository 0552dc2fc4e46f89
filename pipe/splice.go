package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Splice moves n bytes from src to dst without taking them through this
// process (splice(2)). At least one of the two must be a pipe or FIFO; the other
// may be anything with a descriptor: a socket, a file. Frames are bytes
// here: it moves them with their lengths, so what it moves from one Conn to
// another is received there as messages, if whole frames are moved.
//
// It blocks until n bytes have been moved, src ends or ctx does; no thread is
// held but for a file's disk. It returns how many have been moved, also beside
// an error.
//
// Errors: [io.EOF] if src ends first; ctx.Err(); EINVAL if none is a pipe or one
// can't be spliced; EBADF if src can't be read or dst not written; EPIPE; [os.ErrInvalid] if n is negative, or src is a Conn
// that has read ahead, or dst one with half a frame to send; [os.ErrClosed].
// Deadlines do not apply. Nobody may receive from src, send to dst or close
// them meanwhile.
func Splice(ctx context.Context, dst, src syscall.Conn, n int64) (moved int64, err error) {
	if n < 0 {
		return 0, fmt.Errorf("pipe: Splice of %d bytes: %w", n, os.ErrInvalid)
	}
	err = between(ctx, "splice", dst, src, func(d, s int) (bool, error) {
		if moved == n {
			return true, nil
		}
		k, err := unix.Splice(s, nil, d, nil, int(min(n-moved, math.MaxInt32)), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err != nil {
			return false, err
		}
		if moved += int64(k); k == 0 {
			return false, io.EOF
		}
		return moved == n, nil
	})
	return moved, err
}

// Tee copies up to n bytes from one pipe to another and leaves them in src too
// (tee(2)). A second Tee copies the same bytes again: use it, then take from src
// what it returned. It blocks until there is a byte to copy and room for
// it, or ctx ends. What is said of [Splice] is true of Tee, but that both must be
// pipes or FIFOs.
func Tee(ctx context.Context, dst, src syscall.Conn, n int64) (copied int64, err error) {
	if n < 0 {
		return 0, fmt.Errorf("pipe: Tee of %d bytes: %w", n, os.ErrInvalid)
	}
	err = between(ctx, "tee", dst, src, func(d, s int) (bool, error) {
		if n == 0 {
			return true, nil
		}
		k, err := unix.Tee(s, d, int(min(n, math.MaxInt32)), unix.SPLICE_F_NONBLOCK)
		if err == nil && k == 0 {
			err = io.EOF
		}
		copied = max(0, int64(k)) // -1 beside an error
		return true, err
	})
	return copied, err
}

// between runs try, which moves bytes from s to d, until it is through. When it
// says EAGAIN, between waits for src and then for dst.
func between(ctx context.Context, op string, dst, src syscall.Conn, try func(d, s int) (bool, error)) error {
	mustHave(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if dst == nil || src == nil {
		return fmt.Errorf("pipe: %s: dst or src is nil: %w", op, os.ErrInvalid)
	}
	if c, ok := src.(*Conn); ok {
		if n := c.unread.Load(); n > 0 {
			return fmt.Errorf("pipe: %s: src has %d bytes buffered unread in this process: %w", op, n, os.ErrInvalid)
		}
	}
	if c, ok := dst.(*Conn); ok {
		if n := c.unsent.Load(); n > 0 {
			return fmt.Errorf("pipe: %s: dst has %d bytes of a frame to send (Flush sends them): %w", op, n, os.ErrInvalid)
		}
	}
	d, err := dst.SyscallConn()
	if err != nil {
		return err
	}
	s, err := src.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var through, bare bool
		var terr error
		var inner error
		outer := s.Control(func(sfd uintptr) {
			inner = d.Control(func(dfd uintptr) {
				for {
					through, terr = try(int(dfd), int(sfd))
					if terr == nil && !through && ctx.Err() == nil || terr == unix.EINTR {
						continue
					}
					break
				}
				if terr == io.EOF {
					// Bytes or none: a pipe that no writer has opened yet reads
					// as one whose writers have gone.
					bare = isPipe(int(sfd)) && !ended(int(sfd))
				}
			})
		})
		switch {
		case outer != nil || inner != nil:
			return os.ErrClosed
		case through && terr == nil:
			return nil
		case terr == nil:
			return ctx.Err()
		case terr == io.EOF && !bare:
			return io.EOF
		case terr != io.EOF && !errors.Is(terr, unix.EAGAIN):
			return refused(op, terr)
		}
		if err := awaitEvent(ctx, src, unix.EPOLLIN); err != nil {
			return err
		}
		if err := awaitEvent(ctx, dst, unix.EPOLLOUT); err != nil {
			return err
		}
	}
}

// refused says what an errno of splice or tee means.
func refused(op string, err error) error {
	why, err := "", os.NewSyscallError(op, err)
	switch {
	case errors.Is(err, unix.EBADF):
		why = "src is not open for reading, or dst not for writing"
	case errors.Is(err, unix.EINVAL) && op == "tee":
		why = "src and dst must be two pipes or FIFOs"
	case errors.Is(err, unix.EINVAL):
		why = "one of src and dst must be a pipe or FIFO, the other another one, a socket or a file that can be spliced and is not appended to"
	default:
		return err
	}
	return fmt.Errorf("pipe: %s: %w", why, err)
}

// awaitEvent waits for an event of one descriptor. A file that can't be polled
// is always ready.
func awaitEvent(ctx context.Context, c syscall.Conn, event uint32) error {
	w, err := newWatch()
	if err != nil {
		return err
	}
	defer w.close()
	if _, err := w.add(c, event, nil); errors.Is(err, unix.EPERM) {
		return ctx.Err()
	} else if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err = w.wait(ctx, 1)
	return err
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}
