package pool

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/rawipc/rawipc/shm"
)

// A message is a head and a payload of any length. What does not fit the first
// record follows in further ones, so that a ring needs no room for all of it.
//
//	 0  call    number of the call, the same in its reply
//	 8  what    request: the function's id; reply: a verdict
//	16  items   arguments or results of a chunk; 0: one, not in a chunk
//	24  flags   request: whether spinning is worth while
//	32  left    request: nanoseconds until the call's deadline; 0: none
//	40  size    of the payload, in bytes
type head struct {
	call, what, items, flags, left, size uint64
}

const (
	headSize = 48

	flagSpin = 1

	replyOK    = 1
	replyError = 2
)

// pieceOf is the longest record that a message is cut into: several fit the
// ring, so that both sides can work at once.
func pieceOf(ringCap int) int { return ringCap / 4 }

// send writes a message, blocking while the ring is full.
func send(ctx context.Context, w *shm.RingWriter, h head, payload []byte) error {
	piece := pieceOf(w.Cap())
	first := min(len(payload), piece-headSize)
	b, err := w.Reserve(ctx, headSize+first)
	if err != nil {
		return err
	}
	for i, v := range [...]uint64{h.call, h.what, h.items, h.flags, h.left, uint64(len(payload))} {
		binary.NativeEndian.PutUint64(b[8*i:], v)
	}
	copy(b[headSize:], payload)
	w.Commit(headSize + first)
	for payload = payload[first:]; len(payload) > 0; {
		n := min(len(payload), piece)
		if err := w.Send(ctx, payload[:n]); err != nil {
			return err
		}
		payload = payload[n:]
	}
	return nil
}

// receive reads a message, its payload into buf, which grows as bytes come.
func receive(ctx context.Context, r *shm.RingReader, buf []byte) (head, []byte, error) {
	var h head
	b, err := r.Peek(ctx)
	if err != nil {
		return h, buf, err
	}
	if len(b) < headSize {
		return h, buf, fmt.Errorf("pool: a message of %d bytes, want %d or more: %w", len(b), headSize, shm.ErrCorrupt)
	}
	for i, v := range []*uint64{&h.call, &h.what, &h.items, &h.flags, &h.left, &h.size} {
		*v = binary.NativeEndian.Uint64(b[8*i:])
	}
	for buf = append(buf[:0], b[headSize:]...); ; buf = append(buf, b...) {
		r.Advance()
		if uint64(len(buf)) >= h.size {
			break
		}
		if b, err = r.Peek(ctx); err != nil {
			return h, buf, err
		}
		if len(b) == 0 {
			break
		}
	}
	if uint64(len(buf)) != h.size {
		return h, buf, fmt.Errorf("pool: a message of %d bytes that says %d: %w", len(buf), h.size, shm.ErrCorrupt)
	}
	return h, buf, nil
}
