package shm

import (
	"context"
	"fmt"
	"os"
)

// Send sends msg: when it returns nil, the message is in shared memory. It
// blocks while there is no room for it, or others send, until ctx ends; then
// nothing was sent. A call that need not wait succeeds though ctx has ended.
//
// Errors: ctx.Err(); ErrTooLarge, at once, naming the limit; os.ErrClosed after
// CloseSend or Close; EUSERS, at a process's first call, if 120 others use the
// queue; ErrCorrupt if a peer broke the rules.
func (q *MessageQueue) Send(ctx context.Context, msg []byte) error {
	need(ctx)
	seated, err := q.sit(sendEnd)
	if err != nil {
		return err
	}
	defer q.rise(sendEnd, seated)
	if err := q.fits(len(msg)); err != nil {
		return err
	}
	e := &q.st.send
	if err := q.takeEnd(ctx, sendEnd, seated); err != nil {
		return err
	}
	tail, need := e.pos.Load(), recordSize(len(msg))
	if err := q.room(ctx, tail, need); err != nil {
		q.giveEnd(sendEnd)
		return err
	}
	q.put(tail, msg)
	q.commit(sendEnd, after(tail, need))
	return nil
}

// TrySend is Send that does not wait: it reports false if there is no room, or
// somebody else is sending.
func (q *MessageQueue) TrySend(msg []byte) (bool, error) {
	seated, err := q.sit(sendEnd)
	if err != nil {
		return false, err
	}
	defer q.rise(sendEnd, seated)
	if err := q.fits(len(msg)); err != nil {
		return false, err
	}
	e := &q.st.send
	if q.st.ending.Load() != 0 {
		return false, os.ErrClosed
	}
	need := recordSize(len(msg))
	if between(q.st.recv.pos.Load(), e.pos.Load())+need > q.size {
		return false, nil
	}
	if ok, err := q.tryTakeEnd(sendEnd, seated); !ok {
		return false, err
	}
	tail := e.pos.Load()
	if ok, err := q.free(tail, need); !ok {
		q.giveEnd(sendEnd)
		return false, err
	}
	q.put(tail, msg)
	q.commit(sendEnd, after(tail, need))
	return true, nil
}

func (q *MessageQueue) fits(n int) error {
	if n > q.MaxMessage() {
		return fmt.Errorf("%w: %d bytes, this queue takes 0 to %d", ErrTooLarge, n, q.MaxMessage())
	}
	return nil
}

// put writes a record where it goes; the end of data may lie within it.
func (q *MessageQueue) put(tail uint64, msg []byte) {
	at := tail & (q.size - 1) &^ 7
	q.setLength(at, len(msg))
	rest := q.data[(at+recordHead)&(q.size-1):]
	n := copyLong(rest, msg)
	copyLong(q.data, msg[n:])
}

// free reports whether need bytes fit. The caller holds the lock.
func (q *MessageQueue) free(tail, need uint64) (bool, error) {
	if q.st.ending.Load() != 0 {
		return false, os.ErrClosed
	}
	e := &q.st.send
	if between(e.seen.Load(), tail)+need <= q.size {
		return true, nil
	}
	head := q.st.recv.pos.Load()
	used := between(head, tail)
	if used > q.size || tail%8 != 0 {
		return false, q.corrupt(head, tail)
	}
	e.seen.Store(head)
	return used+need <= q.size, nil
}

// room waits until need bytes fit.
func (q *MessageQueue) room(ctx context.Context, tail, need uint64) error {
	for {
		ok, err := q.free(tail, need)
		if ok || err != nil {
			return err
		}
		full := func() bool {
			used := between(q.st.recv.pos.Load(), tail)
			return used+need > q.size && used <= q.size && q.st.ending.Load() == 0
		}
		if err := q.await(ctx, sendEnd, &q.st.recv, full); err != nil {
			return err
		}
	}
}
