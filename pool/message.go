package pool

import (
	"context"
	"fmt"
	"math"

	"github.com/rawipc/rawipc/shm"
)

// A message is a head and a payload of any length: what is more than whole pieces
// comes behind the head, the pieces follow in further records, so that a ring needs
// no room for all of it.
// Both sides are the same program, so a head travels as it lies in memory.
type head struct {
	call  uint64 // number of the call, the same in its reply
	what  uint64 // request: the function's id; reply: a verdict
	items uint64 // arguments or results of a chunk; 0: one, not in a chunk
	flags uint64 // request: whether spinning is worth while
	left  uint64 // request: nanoseconds until the call's deadline; 0: none
	size  uint64 // of the payload, in bytes
}

const (
	// ringSize holds several pieces of a large message each way, so that both
	// sides can work at once.
	ringSize = 256 << 10
	piece    = ringSize/4 - recordHead // what a record of a quarter holds
	headSize = 48

	// Records begin where cache lines do, so that a small message is as few lines
	// as can be, and shares none with the message before, of which the other CPU
	// would lose that line: on two CPUs a call of 64 bytes takes 1.34 µs, not 1.61.
	recordHead = 8 // of a ring's records
	line       = 64

	flagSpin = 1

	replyOK    = 1
	replyError = 2
)

// padded is the size of a record for n bytes with which the next one begins on a
// cache line.
func padded(n int) int { return (n+recordHead+line-1)&^(line-1) - recordHead }

// send writes a message, blocking while the ring is full.
func send(ctx context.Context, w *shm.RingWriter, h head, payload []byte) error {
	h.size = uint64(len(payload))
	at := len(payload) % piece
	n := padded(headSize + at)
	b, err := w.Reserve(ctx, n)
	if err != nil {
		return err
	}
	copy(b[copy(b, memoryOf(form{}, &h)):], payload[:at])
	for w.Commit(n); at < len(payload) && err == nil; at += piece {
		err = w.Send(ctx, payload[at:at+piece])
	}
	return err
}

// peek waits for a message and returns its head; take is the next to be called.
func peek(ctx context.Context, r *shm.RingReader) (h head, err error) {
	b, err := r.Peek(ctx)
	if err == nil && copy(memoryOf(form{}, &h), b) < headSize {
		err = fmt.Errorf("pool: a message of %d bytes, want %d or more: %w", len(b), headSize, shm.ErrCorrupt)
	}
	return h, err
}

// take receives the payload of the message that h is the head of into buf, or
// into new memory, good for any type, if that is too small.
func take(ctx context.Context, r *shm.RingReader, h head, buf []byte) ([]byte, error) {
	b, err := r.Peek(ctx)
	if err != nil {
		return buf, err
	}
	if len(b) < headSize { // a peer that breaks the rules has changed it since peek
		return buf, fmt.Errorf("pool: a message of %d bytes, want %d or more: %w", len(b), headSize, shm.ErrCorrupt)
	}
	buf = extend(buf[:0], b[headSize:min(len(b), headSize+int(h.size%piece))], h.size)
	for r.Advance(); uint64(len(buf)) < h.size; r.Advance() {
		if b, err = r.Peek(ctx); err != nil {
			return buf, err
		}
		buf = extend(buf, b, h.size)
	}
	return buf, nil
}

// extend appends b to buf, which will have size bytes in the end. The size is but
// claimed: there is never more room than 16 times what came and a piece, 1 MiB.
func extend(buf, b []byte, size uint64) []byte {
	b = b[:min(uint64(len(b)), size-uint64(len(buf)))]
	if n := len(buf) + len(b); n > cap(buf) {
		buf = append(room(int(min(size, 16*uint64(piece+n), math.MaxInt/2)))[:0], buf...)
	}
	return append(buf, b...)
}
