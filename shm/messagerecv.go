package shm

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
)

// Recv copies the next message into buf and returns its length. It blocks while
// the queue is empty, or others receive, until there is one for this call, the
// stream ends, or ctx does. A call that need not wait succeeds though ctx has
// ended.
//
// Errors: ctx.Err(); io.EOF after CloseSend, when all was received;
// ErrShortBuffer, naming the size, and the message stays; os.ErrClosed after
// Close; EUSERS and ErrCorrupt as Send.
func (q *MessageQueue) Recv(ctx context.Context, buf []byte) (int, error) {
	_, n, err := q.recv(ctx, buf, false)
	return n, err
}

// RecvAppend appends the next message to buf, which it makes longer as needed.
// It blocks, ends with ctx and fails as Recv does, save that no buffer is too
// short.
func (q *MessageQueue) RecvAppend(ctx context.Context, buf []byte) ([]byte, error) {
	buf, _, err := q.recv(ctx, buf, true)
	return buf, err
}

// TryRecv is Recv that does not wait: it reports false if the queue is empty,
// or somebody else is receiving.
func (q *MessageQueue) TryRecv(buf []byte) (n int, ok bool, err error) {
	_, n, ok, err = q.tryRecv(buf, false)
	return n, ok, err
}

func (q *MessageQueue) tryRecv(buf []byte, grow bool) (_ []byte, n int, ok bool, err error) {
	seated, err := q.sit(recvEnd)
	if err != nil {
		return buf, 0, false, err
	}
	defer q.rise(recvEnd, seated)
	e := &q.st.recv
	if e.pos.Load() == q.st.send.pos.Load() && q.st.ending.Load() == 0 {
		return buf, 0, false, nil
	}
	if ok, err := q.tryTakeEnd(recvEnd, seated); !ok {
		return buf, 0, false, err
	}
	if q.st.ending.Load() == sendsEnding {
		q.tryEndSends()
	}
	head := e.pos.Load()
	if ok, err := q.ready(head); !ok {
		q.giveEnd(recvEnd)
		return buf, 0, false, err
	}
	buf, n, err = q.get(e, head, buf, grow)
	return buf, n, err == nil, err
}

// All receives until the stream ends or ctx does, whichever comes first: it waits
// as Recv does before each message. It yields an error, as the last, if there is
// one other than io.EOF: ctx.Err() when ctx has ended, also if there are messages
// left. Each message is the loop's to keep.
func (q *MessageQueue) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return received(ctx, func(ctx context.Context) ([]byte, error) { return q.RecvAppend(ctx, nil) })
}

func (q *MessageQueue) recv(ctx context.Context, buf []byte, grow bool) ([]byte, int, error) {
	need(ctx)
	seated, err := q.sit(recvEnd)
	if err != nil {
		return buf, 0, err
	}
	defer q.rise(recvEnd, seated)
	e := &q.st.recv
	if err := q.takeEnd(ctx, recvEnd, seated); err != nil {
		return buf, 0, err
	}
	head := e.pos.Load()
	if err := q.some(ctx, head); err != nil {
		q.giveEnd(recvEnd)
		return buf, 0, err
	}
	return q.get(e, head, buf, grow)
}

// get copies the record at head out, commits that, and gives the lock back. The
// length is loaded once; what it says must lie within what is committed.
func (q *MessageQueue) get(e *end, head uint64, buf []byte, grow bool) ([]byte, int, error) {
	at := head & (q.size - 1) &^ 7
	n := q.length(at).Load()
	committed := between(head, e.seen.Load())
	if committed > q.size || committed < recordHead || n > committed-recordHead {
		q.giveEnd(recvEnd)
		return buf, 0, fmt.Errorf("%w: next length %d", q.corrupt(head, e.seen.Load()), n)
	}
	into := buf
	switch {
	case grow:
		buf = slices.Grow(buf, int(n))
		into = buf[len(buf):][:n]
		buf = buf[:len(buf)+int(n)]
	case n > uint64(len(buf)):
		q.giveEnd(recvEnd)
		return buf, 0, fmt.Errorf("%w: %d bytes for a message of %d", ErrShortBuffer, len(buf), n)
	default:
		into = buf[:n]
	}
	first := copyLong(into, q.data[(at+recordHead)&(q.size-1):])
	copyLong(into[first:], q.data)
	q.commit(recvEnd, after(head, recordSize(int(n))))
	return buf, int(n), nil
}

// ready reports whether there is a message. The caller holds the lock.
func (q *MessageQueue) ready(head uint64) (bool, error) {
	e := &q.st.recv
	if n := between(head, e.seen.Load()); n-1 < q.size {
		raceAcquire()
		return true, nil
	}
	ended := q.st.ending.Load() == sendsEnded // before the look at pos
	tail := q.st.send.pos.Load()
	n := between(head, tail)
	switch {
	case n > q.size || tail%8 != 0 || head%8 != 0:
		return false, q.corrupt(head, tail)
	case n == 0 && ended:
		return false, io.EOF
	}
	e.seen.Store(tail)
	raceAcquire()
	return n > 0, nil
}

// some waits until there is a message.
func (q *MessageQueue) some(ctx context.Context, head uint64) error {
	for {
		ok, err := q.ready(head)
		if ok || err != nil {
			return err
		}
		empty := func() bool { return between(head, q.st.send.pos.Load()) == 0 && q.st.ending.Load() == 0 }
		if err := q.await(ctx, recvEnd, &q.st.send, empty); err != nil {
			return err
		}
		if q.st.ending.Load() == sendsEnding {
			if err := q.endSends(ctx); err != nil {
				return err
			}
		}
	}
}
