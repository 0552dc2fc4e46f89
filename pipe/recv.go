package pipe

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// This file takes frames out of a descriptor.

const (
	headSize  = 8    // the length that stands before a message
	readAhead = 8192 // room for what arrives behind the bytes that are wanted
	cacheLine = 64
	firstPart = 16 << 10

	// controlSize is above what the kernel can put beside bytes: MaxFiles
	// descriptors, a time stamp, credentials, a pidfd and a security label.
	controlSize = 2048
)

// A receiver is the receiving half of a Conn. Its fields belong to the holder
// of the line's turn.
//
// Bytes go from the kernel straight to the caller's memory; only what one read
// brings beyond that goes through ahead. Of the current frame, part comes
// first, then ahead[r:w], then what is still in the kernel.
type receiver struct {
	line
	pipeCaller
	mode mode

	ahead   []byte
	r, w    int
	inFrame bool   // a length has been read and left counts
	left    int    // bytes of the current frame not yet given to a caller
	lost    bool   // the stream is of no use any more: to be closed
	part    []byte // those that are here already, kept by a call that ended early

	looking bool   // the attempt only looks
	dst     []byte // where the attempt puts what is wanted
	room    []byte // and what comes behind it: the first part of ahead
	asked   int    // how many bytes it asked for
	n       int    // result of the attempt: bytes into dst, or 0 with end
	end     bool
	err     error
	msg     message

	// Descriptors that came along; see rights.go.
	total     uint64 // bytes that came from the kernel, or packets
	control   []byte // where the attempt puts them
	nControl  int    // how much it put there
	flags     int    // of the recvmsg
	batches   []batch
	wantFiles bool // the caller asks for those of its message
}

// attempt reads once. On a stream it fills dst and, in the same system call,
// ahead, which is empty unless dst is.
func (in *receiver) attempt(fd uintptr) bool {
	if in.looking {
		events, err := pollIn(int(fd))
		in.err = os.NewSyscallError("poll", err)
		return events != 0 || err != nil
	}
	if in.mode.packet {
		return in.attemptPacket(int(fd))
	}
	n, err := in.readOnce(int(fd))
	in.n, in.err, in.end = 0, nil, false
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil:
		in.err = os.NewSyscallError("read", err)
	case n == 0 && !in.mode.socket && !ended(int(fd)):
		return false // no writer has come yet
	case n == 0:
		in.end = true
	default:
		in.n = min(n, len(in.dst))
		in.w += n - in.n
		in.spent = n < in.asked
		in.total += uint64(n)
		if in.nControl > 0 || in.flags != 0 {
			in.arrived(in.control[:in.nControl], in.flags)
		}
	}
	return true
}

func (in *receiver) readOnce(fd int) (n int, err error) {
	for {
		switch {
		case in.mode.local:
			// What is read ahead may be the beginning of a message that somebody
			// will call RecvFiles for.
			a, b := in.dst, in.room
			if len(a) == 0 {
				a, b = in.ahead[in.w:], nil
			}
			in.asked = len(a) + len(b)
			n, in.nControl, in.flags, err = in.msg.recv(fd, a, b, in.control, 0)
			in.flags &= unix.MSG_CTRUNC
		case len(in.dst) == 0:
			in.asked = len(in.ahead) - in.w
			n, err = in.pipeCaller.read(fd, in.ahead[in.w:], nil)
		default:
			in.asked = len(in.dst) + len(in.room)
			n, err = in.pipeCaller.read(fd, in.dst, in.room)
		}
		if err != unix.EINTR {
			return n, err
		}
	}
}

// fill waits for bytes: into dst and, behind them, into ahead. It returns how
// many of them went into dst. mid says that a frame has begun. With a dst,
// ahead must be empty, or bytes would change places.
func (in *receiver) fill(ctx context.Context, dst []byte, mid bool) (int, error) {
	if in.ahead == nil {
		// A message behind its length then lies as it did in the sender's memory
		// and in the kernel's: copies between unlike places take longer.
		in.ahead = make([]byte, cacheLine+readAhead)[cacheLine-headSize:]
		if in.mode.local {
			in.control = make([]byte, controlSize)
		}
	}
	if in.r > 0 {
		in.w = copy(in.ahead, in.ahead[in.r:in.w])
		in.r = 0
	}
	in.dst, in.room = dst, in.ahead
	switch {
	case len(dst) > maxCall:
		in.dst, in.room = dst[:maxCall], nil
	case len(dst) >= largeCall:
		in.room = in.ahead[:headSize]
	}
	err := in.run(ctx)
	in.dst = nil
	switch {
	case err != nil:
		return 0, err
	case in.end:
		return 0, endOfStream(mid, nil)
	case in.err != nil && isGone(in.err):
		return 0, endOfStream(mid, in.err)
	case in.err != nil:
		return 0, in.err
	}
	raceAcquire()
	return in.n, nil
}

// head reads the length of the next frame, if none is begun.
func (in *receiver) head(ctx context.Context) error {
	if in.inFrame {
		return nil
	}
	for in.w-in.r < headSize {
		if _, err := in.fill(ctx, nil, in.w > in.r); err != nil {
			return err
		}
	}
	size := binary.LittleEndian.Uint64(in.ahead[in.r:])
	in.r += headSize
	if size > math.MaxInt {
		in.lost = true
		return tooLarge(size, math.MaxInt)
	}
	in.inFrame, in.left = true, int(size)
	return nil
}

// here moves what has arrived of the current frame into dst.
func (in *receiver) here(dst []byte) int {
	dst = dst[:min(len(dst), in.left)]
	n := copy(dst, in.part)
	if in.part = in.part[n:]; len(in.part) == 0 {
		in.part = nil
		k := copy(dst[n:], in.ahead[in.r:in.w])
		in.r += k
		n += k
	}
	return n
}

// took says that n bytes of the current frame went to a caller.
func (in *receiver) took(n int) {
	in.left -= n
	in.inFrame = in.left > 0
	if !in.inFrame && !in.wantFiles && len(in.batches) > 0 {
		in.dropFiles()
	}
}

// held counts what a process that takes over the descriptor wouldn't find.
func (in *receiver) held() int64 {
	n := int64(in.w - in.r + len(in.part))
	if in.inFrame && n == 0 {
		n = 1 // nothing of it is here, but its length is gone
	}
	return n
}

// whole takes a message that lies in ahead from its length to its end: what head,
// here and took do, at once.
func (in *receiver) whole(buf []byte) (n int, ok bool) {
	b := in.ahead[in.r:in.w]
	if in.inFrame || len(b) < headSize || len(in.batches) > 0 {
		return 0, false
	}
	size := binary.LittleEndian.Uint64(b)
	if b = b[headSize:]; size > uint64(min(len(b), len(buf))) {
		return 0, false
	}
	in.r += headSize + int(size)
	return copy(buf, b[:size]), true
}

func (in *receiver) recv(ctx context.Context, buf []byte) (int, error) {
	if in.mode.packet {
		return in.recvPacket(ctx, buf)
	}
	if !in.inFrame && in.r == in.w {
		if _, err := in.fill(ctx, nil, false); err != nil {
			return 0, err
		}
	}
	if n, ok := in.whole(buf); ok {
		return n, nil
	}
	if err := in.head(ctx); err != nil {
		return 0, err
	}
	if in.left > len(buf) {
		return 0, &ShortBufferError{Size: in.left, Buffer: len(buf)}
	}
	n := in.here(buf)
	for n < in.left {
		k, err := in.fill(ctx, buf[n:in.left], true)
		n += k
		if err != nil {
			in.part = append([]byte(nil), buf[:n]...)
			return 0, err
		}
	}
	in.took(n)
	return n, nil
}

func (in *receiver) recvAlloc(ctx context.Context, max int) ([]byte, error) {
	if max < 0 {
		return nil, fmt.Errorf("pipe: RecvAlloc: max is %d: %w", max, os.ErrInvalid)
	}
	if in.mode.packet {
		return in.recvAllocPacket(ctx, max)
	}
	if err := in.head(ctx); err != nil {
		return nil, err
	}
	if in.left > max {
		in.lost = true
		return nil, tooLarge(uint64(in.left), max)
	}
	// Never more memory than twice what has arrived, but for a first piece.
	msg := make([]byte, min(in.left, firstPart+2*len(in.part)))
	n := in.here(msg)
	for n < in.left {
		if n == len(msg) {
			msg = append(msg, make([]byte, min(in.left-n, n))...)
			// The read that filled msg went on into ahead.
			k := copy(msg[n:], in.ahead[in.r:in.w])
			in.r, n = in.r+k, n+k
			continue
		}
		k, err := in.fill(ctx, msg[n:], true)
		n += k
		if err != nil {
			in.part = msg[:n]
			return nil, err
		}
	}
	in.took(n)
	return msg[:n], nil
}

func (in *receiver) read(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if in.mode.packet {
		return in.readPacket(ctx, p)
	}
	for {
		if err := in.head(ctx); err != nil {
			return 0, err
		}
		n := in.here(p)
		if n == 0 && in.left > 0 {
			var err error
			if n, err = in.fill(ctx, p[:min(len(p), in.left)], true); err != nil {
				return 0, err
			}
		}
		in.took(n)
		if n > 0 {
			return n, nil
		}
	}
}

func (in *receiver) poll(ctx context.Context) (bool, error) {
	if in.held() > 0 {
		return true, nil
	}
	in.looking, in.err = true, nil
	err := in.run(ctx)
	in.looking = false
	if err == nil {
		err = in.err
	}
	return err == nil, err
}
