package pipe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// smallFrame is the size up to which a frame is copied together: one piece is
// taken by the kernel up to twice as fast as two, and a copy this short is
// cheaper than that.
const smallFrame = 8192

// A sender is the sending half of a Conn. Its fields belong to the holder of the
// line's turn.
type sender struct {
	line
	pipeCaller
	mode mode

	sized atomic.Bool // somebody has chosen the pipe's size

	small []byte // frames that are copied together
	head  [headSize]byte
	rest  []byte // what an earlier call didn't get rid of

	iov  [2][]byte // what the attempt sends, shortened as it goes
	sent int
	op   string
	err  error

	control []byte // goes with the first byte
	msg     message
}

// attempt writes until all is sent or the kernel takes no more.
func (out *sender) attempt(fd uintptr) bool {
	for {
		var n int
		var err error
		// A length and its message in one call would lie in the kernel's memory
		// eight bytes off their place here, and copying takes twice as long
		// (tried: 64 KiB through a pipe 50 µs, in two calls 30 µs; through a
		// socket 20 and 17 µs). The length costs a socket another skb: C that
		// sends one reaches 0.87 of C that doesn't. Padded to 64 bytes, in one
		// call, it would be 0.92, but that is another wire format.
		if out.mode.socket {
			if out.op = "sendto"; len(out.control) > 0 {
				out.op = "sendmsg"
			}
			if n, err = out.msg.send(int(fd), out.iov[0], out.control); err == nil {
				out.control = nil
			}
		} else {
			out.op = "write"
			n, err = out.write(int(fd), out.iov[0])
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != nil:
			out.err = os.NewSyscallError(out.op, err)
			return true
		}
		out.sent += n
		out.iov[0] = out.iov[0][n:]
		if len(out.iov[0]) == 0 {
			out.iov[0], out.iov[1] = out.iov[1], nil
		}
		if len(out.iov[0]) == 0 {
			return true
		}
	}
}

// push sends a and b. It returns how many of their bytes went.
//
// With an error and no out.err, the wait ended early.
func (out *sender) push(ctx context.Context, a, b []byte) (int, error) {
	out.iov[0], out.iov[1], out.sent, out.err = a, b, 0, nil
	raceRelease()
	err := out.run(ctx)
	out.control = nil
	if err == nil {
		err = out.err
	}
	return out.sent, err
}

// send sends one message, after what is left of an earlier one. It returns
// how many bytes of it the Conn has taken over: all or none.
//
// control goes with msg's first byte.
func (out *sender) send(ctx context.Context, c *Conn, msg, control []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := out.enter(ctx); err != nil {
		return 0, err
	}
	defer out.leave()
	if err := out.finish(ctx, c); err != nil {
		return 0, err
	}
	out.control = control
	if out.mode.packet {
		return out.sendPacket(ctx, msg)
	}
	a, b := out.frame(msg)
	if len(b) > largeCall && !out.mode.socket && !out.sized.Load() {
		out.grow()
	}
	sent, err := out.push(ctx, a, b)
	if err != nil && out.err == nil && sent > 0 && err != os.ErrClosed {
		// Only the wait ended. The caller may reuse msg: what hasn't gone is copied.
		out.rest = append(append([]byte(nil), out.iov[0]...), out.iov[1]...)
		c.unsent.Store(int64(len(out.rest)))
		err = &PartialError{Unsent: len(out.rest), Err: err}
	}
	out.iov = [2][]byte{}
	if _, part := err.(*PartialError); err != nil && !part {
		return 0, err
	}
	return len(msg), err
}

// frame puts the length before msg, in one piece if that is cheap.
func (out *sender) frame(msg []byte) (a, b []byte) {
	if len(msg) > smallFrame-headSize {
		binary.LittleEndian.PutUint64(out.head[:], uint64(len(msg)))
		return out.head[:], msg
	}
	if out.small == nil {
		out.small = make([]byte, smallFrame)
	}
	binary.LittleEndian.PutUint64(out.small, uint64(len(msg)))
	return out.small[:headSize+copy(out.small[headSize:], msg)], nil
}

func (out *sender) sendPacket(ctx context.Context, msg []byte) (int, error) {
	if !out.mode.socket && (len(msg) == 0 || len(msg) > packetPipeMax) {
		return 0, fmt.Errorf("pipe: a packet in a pipe has 1 to %d bytes, not %d: %w", packetPipeMax, len(msg), os.NewSyscallError("write", unix.EMSGSIZE))
	}
	_, err := out.push(ctx, msg, nil)
	out.iov = [2][]byte{}
	switch {
	case errors.Is(err, unix.EMSGSIZE):
		return 0, fmt.Errorf("pipe: packet of %d bytes is above the socket's send buffer (SO_SNDBUF; net.core.wmem_default): %w", len(msg), err)
	case err != nil:
		return 0, err
	}
	return len(msg), nil
}

func (out *sender) flush(ctx context.Context, c *Conn) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := out.enter(ctx); err != nil {
		return err
	}
	defer out.leave()
	return out.finish(ctx, c)
}

// finish sends what an earlier call left.
func (out *sender) finish(ctx context.Context, c *Conn) error {
	if len(out.rest) == 0 {
		return nil
	}
	n, err := out.push(ctx, out.rest, nil)
	out.iov = [2][]byte{}
	if out.rest = out.rest[n:]; len(out.rest) == 0 {
		out.rest = nil
	}
	c.unsent.Store(int64(len(out.rest)))
	return err
}

// largePipe is the size in bytes that a pipe gets when the first large frame goes
// through it. As the kernel makes pipes, a frame of 64 KiB just doesn't fit, and
// each would cost its sender a wait. All pipes of a user have 64 MiB
// (fs.pipe-user-pages-soft), so others keep what they have.
const (
	largePipe    = 256 << 10
	defaultPages = 16
)

// grow makes the pipe larger, if it may be and nobody has chosen its size.
func (out *sender) grow() {
	if out.sized.Swap(true) {
		return
	}
	_ = out.d.control(func(fd uintptr) {
		if n, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0); err == nil && n == defaultPages*os.Getpagesize() && n < largePipe {
			_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, largePipe)
		}
	})
}
