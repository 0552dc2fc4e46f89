package shm

import (
	"context"
	"fmt"
	"os"
)

// A RingWriter is the sending end of a ring. It is a handle. One goroutine at
// a time may use it, and Close must not overtake another call.
type RingWriter struct {
	ring
	tail     uint64 // what is committed: our own copy
	head     uint64 // what the reader had read when we last looked
	reserved int    // bytes of the open reservation, -1 if there is none
}

// Send sends msg: when it returns nil, the message is in shared memory and
// stays there though this process be killed. It blocks while the ring is full,
// until the reader makes room or ctx ends; then nothing was sent. A call that need
// not wait succeeds though ctx has ended.
//
// Errors: ctx.Err(); ErrTooLarge, naming the limit; os.ErrClosed after
// CloseSend or Close; ErrPeerDead if the ring is full and the reader dead; EBUSY
// if another process writes; ErrCorrupt if the
// positions in shared memory can't be.
func (w *RingWriter) Send(ctx context.Context, msg []byte) error {
	// As Reserve and Commit do it, for what needs no wait and no second look.
	n := len(msg)
	if st, end := w.live, w.tail+recordSize(n); st != nil && n < longCopy && (end-w.head <= w.size || w.glance(st, end)) && st.closed.Load() == 0 {
		w.put(w.tail, msg)
		w.commit(end)
		return nil
	}
	buf, err := w.Reserve(ctx, n)
	if err != nil {
		return err
	}
	copyLong(buf, msg)
	w.setLength(w.tail, n)
	w.commit(w.tail + recordSize(n))
	return nil
}

// Reserve returns n bytes of shared memory, in one piece, to write a message
// into; Commit sends it. It blocks, ends with ctx and fails as Send does. A second
// Reserve before Commit drops the first. The bytes hold what earlier messages
// left.
func (w *RingWriter) Reserve(ctx context.Context, n int) ([]byte, error) {
	if w.live == nil {
		if err := w.attach(); err != nil {
			return nil, err
		}
	}
	if n < 0 || n > w.MaxMessage() {
		return nil, fmt.Errorf("%w: %d bytes, this ring takes 0 to %d", ErrTooLarge, n, w.MaxMessage())
	}
	if w.live.closed.Load() != 0 {
		return nil, os.ErrClosed
	}
	need := recordSize(n)
	if w.tail+need-w.head > w.size {
		if err := w.room(ctx, need); err != nil {
			return nil, err
		}
	}
	w.reserved = n
	at := (w.tail + recordHead) & (w.size - 1)
	return w.data[at : at+uint64(n) : at+uint64(n)], nil
}

// Commit sends the first n bytes of what Reserve returned. It never blocks. It
// panics if n is more than was reserved or nothing was, as after Close.
func (w *RingWriter) Commit(n int) {
	if w.live == nil || n < 0 || n > w.reserved {
		w.misused(n)
	}
	w.setLength(w.tail, n)
	w.commit(w.tail + recordSize(n))
}

func (w *RingWriter) misused(n int) {
	if w.live == nil || w.reserved < 0 {
		panic("shm: Commit without Reserve")
	}
	panic(fmt.Sprintf("shm: Commit of %d bytes, want 0 to the %d that are reserved", n, w.reserved))
}

// commit sends the record that ends at end.
//
// SYNC ring-tail: the store of tail makes length and bytes visible, both stored
// plainly; it pairs with the load in Peek. It is the one store that commits: a
// writer killed before it has sent nothing.
//
// Lost: this written out in Send, and advance in Recv: 5.8 ns a message of 8 bytes,
// not 6.2. In C, where the compiler has all of it in one loop, it is 3.9.
func (w *RingWriter) commit(end uint64) {
	w.tail, w.reserved = end, -1
	raceRelease()
	if plainStores {
		storePlain(&w.live.tail, end)
	}
	if !w.plain || w.live.readerSleeps.Load() != 0 {
		w.commitSlowly()
	}
}

// commitSlowly is what commit rarely needs: the same store with a fence, and a
// wake.
func (w *RingWriter) commitSlowly() {
	if !w.plain {
		w.live.tail.Store(w.tail)
		if mayGoPlain(&w.commits) {
			w.goPlain(&w.live.writerPlain)
		}
	}
	wakeEnd(&w.live.readerSleeps)
}

// CloseSend ends the stream: the reader gets what was sent, then io.EOF, and
// later sends fail with os.ErrClosed. It never blocks.
func (w *RingWriter) CloseSend() error {
	if w.live == nil {
		if err := w.attach(); err != nil {
			return err
		}
	}
	w.st.closed.Store(1)
	wakeEnd(&w.st.readerSleeps)
	return nil
}

// Close releases this process's mapping and descriptors and gives up the end;
// the stream stays open for another writer. A second Close returns
// os.ErrClosed.
func (w *RingWriter) Close() error { return w.close() }

func (w *RingWriter) attach() error {
	if w.mem == nil {
		return os.ErrClosed
	}
	if err := w.claim(&w.st.writer, &w.st.writerCPU, &w.st.readerSleeps, "writer"); err != nil {
		return err
	}
	w.tail, w.head, w.reserved = w.st.tail.Load(), w.st.head.Load(), -1
	if w.tail-w.head > w.size || w.tail%8 != 0 {
		w.disown()
		return w.corrupt(w.head, w.tail, 0)
	}
	w.live = w.st
	return nil
}

// glance looks a few times whether there is room up to end, before all that
// costs.
func (w *RingWriter) glance(st *ringState, end uint64) bool {
	head := w.spin.Glance(w.apart(&st.readerCPU), &st.head, w.head, end-w.tail, &st.head)
	if w.tail-head > w.size {
		return false
	}
	w.head = head
	return end-head <= w.size
}

// room waits until need bytes are free.
func (w *RingWriter) room(ctx context.Context, need uint64) error {
	full := func() bool {
		w.head = w.st.head.Load()
		return w.tail+need-w.head > w.size && w.tail-w.head <= w.size
	}
	err := w.waitEnd(ctx, &w.st.writerSleeps, &w.st.readerPlain, &w.st.reader, w.apart(&w.st.readerCPU), full)
	if err == nil && w.tail-w.head > w.size {
		err = w.corrupt(w.head, w.tail, 0)
	}
	return err
}

// Consumed returns how many bytes of records the reader has consumed since the
// ring was made: a count that wraps at 2^64, for comparing with an earlier
// one. It is 0 after Close.
func (w *RingWriter) Consumed() uint64 {
	if w.mem == nil {
		return 0
	}
	return w.st.head.Load()
}
