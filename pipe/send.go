package pipe

import (
	"bytes"
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
	bad   error  // why the frame that is under way will never be whole
	room  int    // in the page of the pipe that the latest large frame ended in

	iov  [3][]byte // what the attempt sends, shortened as it goes
	sent int
	op   string
	err  error

	control []byte // goes with the first byte
	msg     message
}

// maxCall is the size in bytes of the largest call. While a reader keeps up, a
// socket takes all that a call has, and meanwhile nothing else can end it. So after
// one of these the caller looks whether it is to go on.
const maxCall = 1 << 20

// attempt writes until all is sent or the kernel takes no more. When it takes a
// part of a write, the next would get EAGAIN.
func (out *sender) attempt(fd uintptr) bool {
	for {
		var n int
		var err error
		a, b := out.iov[0], out.iov[1]
		if !out.mode.packet { // which goes whole
			a, b = a[:min(len(a), maxCall)], b[:min(len(b), maxCall)]
		}
		if out.mode.socket {
			if out.op = "sendto"; len(out.control) > 0 || len(a) > 0 && len(b) > 0 {
				out.op = "sendmsg"
			}
			if n, err = out.msg.send(int(fd), a, b, out.control); err == nil {
				out.control = nil
			}
		} else {
			out.op, b = "write", nil
			n, err = out.write(int(fd), a)
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
		if out.sent += n; n == len(out.iov[0]) && len(out.iov[1]) == 0 {
			out.iov[0] = nil
			return true // a small frame ends here
		}
		k := min(n, len(out.iov[0]))
		part := n < len(a)+len(b) || n >= maxCall
		out.iov[0], out.iov[1] = out.iov[0][k:], out.iov[1][n-k:]
		for len(out.iov[0]) == 0 {
			if out.iov[0], out.iov[1], out.iov[2] = out.iov[1], out.iov[2], nil; len(out.iov[0]) == 0 && len(out.iov[1]) == 0 {
				return true
			}
		}
		if part {
			out.moved = true
			return false
		}
	}
}

// push sends a, b and c, on a socket a and b in one call. It returns how many of
// their bytes went.
//
// With an error and no out.err, the wait ended early.
func (out *sender) push(ctx context.Context, a, b, c []byte) (int, error) {
	out.sent, out.err = 0, nil
	if out.iov[0] = a; len(b) > 0 { // or they are empty already
		out.iov[1], out.iov[2] = b, c
	}
	raceRelease()
	err := out.run(ctx)
	out.control = nil
	if err == nil {
		err = out.err
	}
	if out.sent > 0 && out.err != nil {
		// The peer takes what comes next for the rest of this frame.
		out.bad = fmt.Errorf("pipe: an earlier message was cut short: %w", out.err)
	}
	return out.sent, err
}

// send sends one message, after what is left of an earlier one. It returns
// how many bytes of it the Conn has taken over: all or none.
//
// control goes with msg's first byte.
func (out *sender) send(ctx context.Context, c *Conn, msg, control []byte) (int, error) {
	mustHave(ctx)
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
	head, b, rest := out.frame(msg)
	if len(b) > largeCall && !out.mode.socket && !out.sized.Load() {
		out.grow()
	}
	sent, err := out.push(ctx, head, b, rest)
	if err != nil && out.err == nil && sent > 0 && err != os.ErrClosed {
		// Only the wait ended. The caller may reuse msg: what hasn't gone is copied.
		out.rest = bytes.Join(out.iov[:], nil)
		c.unsent.Store(int64(len(out.rest)))
		err = &PartialError{Unsent: len(out.rest), Err: err}
	}
	if err != nil || len(b) > 0 { // else the attempt has done so
		out.iov = [3][]byte{}
	}
	if _, part := err.(*PartialError); err != nil && !part {
		return 0, err
	}
	return len(msg), err
}

// frame puts the length before msg, in one piece if that is cheap.
//
// A length and a large message as one piece would lie in the kernel's memory eight
// bytes off their place here, and copies between unlike places take longer. The
// length alone would cost a pipe a seventeenth page for 64 KiB, to be allocated
// and charged like the others, and a socket a third skb (so did C: 0.87 of C
// without a length). So the length goes along with a part of the message.
//
// Tried, all in C on one CPU, 64 KiB: both in one writev into a pipe, 12.2 µs a
// message where this takes 11.8; the length padded to 64 bytes, in one call to
// a socket, 0.92 of C without; a socket's SO_SNDBUF twice as large, no gain,
// nor with 1 MiB.
func (out *sender) frame(msg []byte) (a, b, rest []byte) {
	if len(msg) <= smallFrame-headSize {
		if out.small == nil {
			out.small = make([]byte, smallFrame)
		}
		binary.LittleEndian.PutUint64(out.small, uint64(len(msg)))
		return out.small[:headSize+copy(out.small[headSize:], msg)], nil, nil
	}
	if out.mode.socket {
		binary.LittleEndian.PutUint64(out.head[:], uint64(len(msg)))
		x := firstOf(len(msg))
		return out.head[:], msg[:x], msg[x:]
	}
	// A pipe's pages are filled up by a write of less than a page if it fits.
	// Each frame leaves 64 bytes less of its last page than the one before. If
	// a reader has taken that page already, the part gets one of its own.
	if out.small == nil {
		out.small = make([]byte, smallFrame)
	}
	x := (pipePage - 1) / cacheLine * cacheLine
	if out.room >= headSize {
		x = (out.room - headSize) / cacheLine * cacheLine
	}
	out.room = (x - len(msg)) & (pipePage - 1)
	binary.LittleEndian.PutUint64(out.small, uint64(len(msg)))
	copy(out.small[headSize:], msg[:x])
	return out.small[:headSize+x], msg[x:], nil
}

// pipePage is what pages are taken to be: where they are larger, more is left of
// them.
const pipePage = 4096

// skbSize is how much of a stream the kernel puts into one skb, on a machine
// with pages of 4 KiB: 16 KiB less its own data, and 32 KiB of whole pages.
const skbSize = 48832

// firstOf is how much of a message goes along with its length so that both take
// as few skbs as the message alone, of about the same size.
func firstOf(size int) int {
	skbs := (size + headSize + skbSize - 1) / skbSize
	return min(size, (size/skbs+cacheLine-1)/cacheLine*cacheLine)
}

func (out *sender) sendPacket(ctx context.Context, msg []byte) (int, error) {
	if !out.mode.socket && (len(msg) == 0 || len(msg) > packetPipeMax) {
		return 0, fmt.Errorf("pipe: a packet in a pipe has 1 to %d bytes, not %d: %w", packetPipeMax, len(msg), os.NewSyscallError("write", unix.EMSGSIZE))
	}
	_, err := out.push(ctx, msg, nil, nil)
	if err != nil {
		out.iov[0] = nil
	}
	switch {
	case errors.Is(err, unix.EMSGSIZE):
		return 0, fmt.Errorf("pipe: packet of %d bytes is above the socket's send buffer (SO_SNDBUF; net.core.wmem_default): %w", len(msg), err)
	case err != nil:
		return 0, err
	}
	return len(msg), nil
}

func (out *sender) flush(ctx context.Context, c *Conn) error {
	mustHave(ctx)
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
	if out.bad != nil {
		return out.bad
	}
	if len(out.rest) == 0 {
		return nil
	}
	n, err := out.push(ctx, out.rest, nil, nil)
	out.iov[0] = nil
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
