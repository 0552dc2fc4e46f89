package pool

import (
	"context"
	"fmt"

	"github.com/rawipc/rawipc/shm"
)

// A message is a head and a payload of any length. What does not fit the first
// record follows in further ones, so that a ring needs no room for all of it.
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
	piece    = ringSize / 4
	headSize = 48

	flagSpin = 1

	replyOK    = 1
	replyError = 2
)

// send writes a message, blocking while the ring is full.
func send(ctx context.Context, w *shm.RingWriter, h head, payload []byte) error {
	h.size = uint64(len(payload))
	first := min(len(payload), piece)
	b, err := w.Reserve(ctx, headSize+first)
	if err != nil {
		return err
	}
	copy(b[copy(b, memoryOf(form{}, &h)):], payload)
	w.Commit(headSize + first)
	for at := first; at < len(payload) && err == nil; at += piece {
		err = w.Send(ctx, payload[at:min(at+piece, len(payload))])
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
	buf = extend(buf[:0], b[headSize:], h.size)
	for r.Advance(); uint64(len(buf)) < h.size; r.Advance() {
		if b, err = r.Peek(ctx); err != nil {
			return buf, err
		}
		buf = extend(buf, b, h.size)
	}
	if uint64(len(buf)) != h.size {
		err = fmt.Errorf("pool: a message of %d bytes that says %d: %w", len(buf), h.size, shm.ErrCorrupt)
	}
	return buf, err
}

// extend appends b to buf, which will have size bytes in the end. That is but
// claimed: there is never more room than 16 times what came.
func extend(buf, b []byte, size uint64) []byte {
	if n := len(buf) + len(b); n > cap(buf) {
		buf = append(room(int(min(size, 16*uint64(n))))[:0], buf...)
	}
	return append(buf, b...)
}
