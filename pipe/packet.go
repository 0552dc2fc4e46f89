package pipe

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// spareSize is above what a socket's send buffer lets a packet be, unless an
// administrator raised net.core.wmem_max.
const spareSize = 256 << 10

// spares take what doesn't fit into a caller's buffer. They are needed only
// during a system call, so a few serve any number of blocked receivers.
var spares = sync.Pool{New: func() any { return new(spare) }}

type spare struct {
	bytes   [spareSize]byte
	control [controlSize]byte
}

// attemptPacket reads one packet into dst. The kernel throws away what finds no
// room, so a spare buffer stands behind dst: a packet that is too large for dst
// is kept whole, in part. Looking first (MSG_PEEK) would be a second
// system call, and between the two another process could take the packet.
func (in *receiver) attemptPacket(fd int) bool {
	spare := spares.Get().(*spare)
	defer spares.Put(spare)
	n, empty, err := in.readPacketOnce(fd, in.dst, spare)
	in.n, in.err, in.end = 0, nil, false
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil:
		in.err = os.NewSyscallError("recvmsg", err)
	case n == 0 && !in.mode.socket && !ended(fd):
		return false // no writer has come yet
	case n == 0 && !empty:
		in.end = true
	case n > len(in.dst)+spareSize:
		in.err = fmt.Errorf("%w: packet of %d bytes, at most %d can be taken in: it is lost", ErrTooLarge, n, len(in.dst)+spareSize)
	case n > len(in.dst):
		in.part = append(append(make([]byte, 0, n), in.dst...), spare.bytes[:n-len(in.dst)]...)
		in.inFrame, in.left = true, n
	default:
		in.n = n
	}
	return true
}

// readPacketOnce reads one packet. A result of 0 is an empty packet, if empty,
// else the end.
//
// Without room for control messages the kernel closes descriptors that a peer
// attached.
func (in *receiver) readPacketOnce(fd int, dst []byte, s *spare) (n int, empty bool, err error) {
	for {
		if in.mode.socket {
			var control []byte
			if in.wantFiles {
				control = s.control[:]
			}
			var k, flags int
			n, k, flags, err = in.msg.recv(fd, dst, s.bytes[:], control, unix.MSG_TRUNC)
			empty = in.mode.datagram || flags&unix.MSG_CTRUNC != 0
			if err == nil && in.wantFiles {
				in.total++
				stamped := in.arrived(control[:k], flags)
				empty = empty || stamped
			}
		} else {
			n, err = in.pipeCaller.read(fd, dst, s.bytes[:])
		}
		if err != unix.EINTR {
			return n, empty, err
		}
	}
}

// next waits for a packet. It lies in dst[:n], or, if inFrame, in part.
func (in *receiver) next(ctx context.Context, dst []byte) (n int, err error) {
	in.dst = dst
	err = in.run(ctx)
	in.dst = nil
	switch {
	case err != nil:
		return 0, err
	case in.end:
		return 0, io.EOF
	case in.err != nil:
		in.dropFiles()
		return 0, in.err
	}
	raceAcquire()
	return in.n, nil
}

func (in *receiver) recvPacket(ctx context.Context, buf []byte) (int, error) {
	if !in.inFrame {
		n, err := in.next(ctx, buf)
		if err != nil || !in.inFrame {
			return n, err
		}
	}
	if in.left > len(buf) {
		return 0, &ShortBufferError{Size: in.left, Buffer: len(buf)}
	}
	n := in.here(buf)
	in.took(n)
	return n, nil
}

func (in *receiver) recvAllocPacket(ctx context.Context, max int) ([]byte, error) {
	if !in.inFrame {
		n, err := in.next(ctx, nil)
		if err != nil {
			return nil, err
		}
		if !in.inFrame {
			return make([]byte, n), nil // n is 0
		}
	}
	if in.left > max {
		in.lost = true
		return nil, tooLarge(uint64(in.left), max)
	}
	msg := in.part
	in.part = nil
	in.took(len(msg))
	return msg, nil
}

func (in *receiver) readPacket(ctx context.Context, p []byte) (int, error) {
	for !in.inFrame {
		n, err := in.next(ctx, p)
		if err != nil || n > 0 {
			return n, err
		}
	}
	n := in.here(p)
	in.took(n)
	return n, nil
}
