package shm

import (
	"context"
	"fmt"
	"io"
	"os"
)

// A RingReader is the receiving end of a ring. It is a handle. One goroutine
// at a time may use it, and Close must not overtake another call.
type RingReader struct {
	ring
	head uint64 // what was consumed: our own copy
	tail uint64 // what was written when we last looked
	next uint64 // record size of the message that Peek returned, or 0
	last uint64 // record size of the last message
}

// Recv copies the next message into buf and returns its length. It blocks
// while the ring is empty, until a message comes, the stream ends, or ctx does. A
// call that need not wait succeeds though ctx has ended.
//
// Errors: ctx.Err(); io.EOF after the writer's CloseSend, when all was
// received; ErrPeerDead if that is so and the writer died without CloseSend;
// ErrShortBuffer, naming the size, and the message stays;
// os.ErrClosed after Close; EBUSY if another process reads; ErrCorrupt if the
// positions or the length in shared memory can't be.
func (r *RingReader) Recv(ctx context.Context, buf []byte) (int, error) {
	// As Peek and Advance do it, for what needs no sleep and no second look.
	if st := r.live; st != nil && (r.head != r.tail || r.glance(st)) {
		raceAcquire()
		n := r.length(r.head).Load()
		if n <= r.tail-r.head-recordHead && n <= uint64(min(len(buf), longCopy-1)) {
			r.get(r.head, buf[:n])
			r.advance(recordSize(int(n)))
			return int(n), nil
		}
	}
	peeked := r.next
	msg, err := r.peek(ctx)
	if err != nil {
		return 0, err
	}
	if len(msg) > len(buf) {
		r.next = peeked
		return 0, fmt.Errorf("%w: %d bytes for a message of %d", ErrShortBuffer, len(buf), len(msg))
	}
	n := copyLong(buf, msg)
	r.Advance()
	return n, nil
}

// Peek returns the next message where it lies, without consuming it: the bytes
// are valid until Advance. It blocks, ends with ctx and fails as Recv does. A peer
// that breaks the rules can change them while they are looked at, never their
// length.
func (r *RingReader) Peek(ctx context.Context) ([]byte, error) {
	if st := r.live; st != nil && r.head == r.tail {
		r.glance(st)
	}
	return r.peek(ctx)
}

func (r *RingReader) peek(ctx context.Context) ([]byte, error) {
	if r.live == nil {
		if err := r.attach(); err != nil {
			return nil, err
		}
	}
	if r.head == r.tail {
		if err := r.more(ctx); err != nil {
			return nil, err
		}
	}
	raceAcquire()
	// SYNC ring-tail: tail was loaded after the writer stored it. The length is
	// loaded once; what it says must lie within what is committed.
	n := r.length(r.head).Load()
	if committed := r.tail - r.head; committed < recordHead || n > committed-recordHead {
		return nil, r.corrupt(r.head, r.tail, n)
	}
	r.next = recordSize(int(n))
	at := (r.head + recordHead) & (r.size - 1)
	return r.data[at : at+n : at+n], nil
}

// Advance consumes the message that Peek returned: so one skips a message that is
// longer than Recv's buffer. It never blocks. It panics if there is none.
func (r *RingReader) Advance() {
	if r.next == 0 {
		panic("shm: Advance without Peek")
	}
	r.advance(r.next)
}

// advance consumes a record.
//
// SYNC ring-head: the store of head gives the bytes back; it pairs with the
// load in room. A reader killed before it has consumed nothing.
func (r *RingReader) advance(size uint64) {
	r.head += size
	r.next, r.last = 0, size
	raceRelease()
	if plainStores {
		storePlain(&r.live.head, r.head)
	}
	if !r.plain || r.live.writerSleeps.Load() != 0 {
		r.advanceSlowly()
	}
}

// advanceSlowly is what advance rarely needs: the same store with a fence, and a
// wake.
func (r *RingReader) advanceSlowly() {
	if !r.plain {
		r.live.head.Store(r.head)
		if mayGoPlain(&r.commits) {
			r.goPlain(&r.live.readerPlain)
		}
	}
	wakeEnd(&r.live.writerSleeps)
}

// Close releases this process's mapping and descriptors and gives up the end;
// the messages stay for another reader. A second Close returns os.ErrClosed.
func (r *RingReader) Close() error { return r.close() }

func (r *RingReader) attach() error {
	if r.mem == nil {
		return os.ErrClosed
	}
	if err := r.claim(&r.st.reader, &r.st.readerCPU, &r.st.writerSleeps, "reader"); err != nil {
		return err
	}
	r.head, r.tail, r.next = r.st.head.Load(), r.st.tail.Load(), 0
	if r.head%8 != 0 || !r.sane() {
		r.disown()
		return r.corrupt(r.head, r.tail, 0)
	}
	r.live = r.st
	return nil
}

// more waits until the ring is not empty.
func (r *RingReader) more(ctx context.Context) error {
	empty := func() bool {
		r.tail = r.st.tail.Load()
		return r.tail == r.head && r.st.closed.Load() == 0
	}
	if err := r.waitEnd(ctx, &r.st.readerSleeps, &r.st.writerPlain, &r.st.writer, r.apart(&r.st.writerCPU), empty); err != nil {
		return err
	}
	if r.tail == r.head {
		// The stream was closed after a last look at tail: look again.
		if r.tail = r.st.tail.Load(); r.tail == r.head {
			return io.EOF
		}
	}
	if !r.sane() {
		err := r.corrupt(r.head, r.tail, 0)
		r.tail = r.head // look again next time
		return err
	}
	return nil
}

// glance looks for a message a few times, before all that costs. It asks at once
// for the end of one that is as long as the last, which is more often the line
// that is yet to come than its beginning: that shares one with the last message.
func (r *RingReader) glance(st *ringState) bool {
	tail := r.spin.Glance(r.apart(&st.writerCPU), &st.tail, r.head, r.last, r.length(r.head+r.last-8))
	if !r.fits(tail) {
		return false
	}
	r.tail = tail
	return tail != r.head
}

// sane reports whether what is committed fits the ring.
func (r *RingReader) sane() bool { return r.fits(r.tail) }

func (r *RingReader) fits(tail uint64) bool { return tail-r.head <= r.size && tail%8 == 0 }
