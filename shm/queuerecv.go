package shm

import (
	"context"
	"fmt"
	"io"
	"iter"
)

// Recv receives the next message. It blocks while the queue is empty, or others
// receive, until there is one for this call, the stream ends, or ctx does. A call
// that need not wait succeeds though ctx has ended.
//
// Errors: ctx.Err(); io.EOF after CloseSend, when all was received; os.ErrClosed
// after Close; EUSERS and ErrCorrupt as Send.
func (q *Queue[T]) Recv(ctx context.Context) (v T, err error) {
	need(ctx)
	seated, err := q.sit(recvEnd)
	if err != nil {
		return v, err
	}
	e := &q.st.recv
	if !q.begin(e, &q.seats[recvEnd], seated) {
		err = q.takeEnd(ctx, recvEnd, seated)
	}
	if err == nil {
		head := e.pos.Load()
		if n := e.seen.Load() - head; n-1 >= q.capacity && !q.glance(e, head) {
			_, err = q.some(ctx, head)
		}
		if err == nil {
			raceAcquire()
			v = q.slots[head&(q.size-1)]
			q.commit(recvEnd, head+1)
		} else {
			q.giveEnd(recvEnd)
		}
	}
	q.rise(recvEnd, seated)
	return v, err
}

// TryRecv is Recv that does not wait: it reports false if the queue is empty,
// or somebody else is receiving.
func (q *Queue[T]) TryRecv() (v T, ok bool, err error) {
	seated, err := q.sit(recvEnd)
	if err != nil {
		return v, false, err
	}
	defer q.rise(recvEnd, seated)
	e := &q.st.recv
	if e.pos.Load() == q.st.send.pos.Load() && q.st.ending.Load() == 0 {
		return v, false, nil
	}
	if ok, err := q.tryTakeEnd(recvEnd, seated); !ok {
		return v, false, err
	}
	if q.st.ending.Load() == sendsEnding {
		q.tryEndSends()
	}
	head := e.pos.Load()
	if n, err := q.ready(head); n == 0 || err != nil {
		q.giveEnd(recvEnd)
		return v, false, err
	}
	v = q.slots[head&(q.size-1)]
	q.commit(recvEnd, head+1)
	return v, true, nil
}

// RecvBatch receives messages that follow one another: one at least, as many as
// there are and fit into buf at most. It returns how many. It costs less than as
// many Recvs. It blocks, ends with ctx and fails as Recv does; with a buf of length
// 0 it returns 0 at once.
func (q *Queue[T]) RecvBatch(ctx context.Context, buf []T) (int, error) {
	need(ctx)
	seated, err := q.sit(recvEnd)
	if err != nil {
		return 0, err
	}
	defer q.rise(recvEnd, seated)
	if len(buf) == 0 {
		return 0, nil
	}
	e := &q.st.recv
	if err := q.takeEnd(ctx, recvEnd, seated); err != nil {
		return 0, err
	}
	head := e.pos.Load()
	n, err := q.some(ctx, head)
	if err != nil {
		q.giveEnd(recvEnd)
		return 0, err
	}
	n = min(n, len(buf))
	at := int(head & (q.size - 1))
	first := copy(buf[:n], q.slots[at:])
	copy(buf[first:n], q.slots)
	q.commit(recvEnd, head+uint64(n))
	return n, nil
}

// All receives until the stream ends or ctx does, whichever comes first: it waits
// as Recv does before each message. It yields an error, as the last, if there is
// one other than io.EOF: ctx.Err() when ctx has ended, also if there are messages
// left.
func (q *Queue[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return received(ctx, q.Recv)
}

// Len returns how many messages the queue holds just now; 0 after Close.
func (q *Queue[T]) Len() int {
	if q.enter() != nil {
		return 0
	}
	defer q.leave()
	head := q.st.recv.pos.Load() // first: it can't overtake the other
	return int(min(q.st.send.pos.Load()-head, q.capacity))
}

// glance looks for a message a few times, before all that costs. The caller
// holds the lock.
func (q *Queue[T]) glance(e *end, head uint64) bool {
	tail := q.spins[recvEnd].Glance(q.apart(&q.st.send), &q.st.send.pos, head, 1, &q.st.send.pos)
	if tail-head-1 >= q.capacity {
		return false
	}
	storeBefore(&e.seen, tail)
	return true
}

// ready returns how many messages there are. The caller holds the lock.
func (q *Queue[T]) ready(head uint64) (int, error) {
	e := &q.st.recv
	n := e.seen.Load() - head
	if n-1 >= q.capacity { // empty, as it was then; or a bad position
		ended := q.st.ending.Load() == sendsEnded // before the look at pos
		tail := q.st.send.pos.Load()
		switch n = tail - head; {
		case n > q.capacity:
			return 0, q.corrupt(head, tail)
		case n == 0 && ended:
			return 0, io.EOF
		}
		storeBefore(&e.seen, tail)
	}
	raceAcquire()
	return int(n), nil
}

// some waits until there is a message, and returns how many there are.
func (q *Queue[T]) some(ctx context.Context, head uint64) (int, error) {
	for {
		n, err := q.ready(head)
		if n > 0 || err != nil {
			return n, err
		}
		empty := func() bool { return q.st.send.pos.Load() == head && q.st.ending.Load() == 0 }
		if err := q.await(ctx, recvEnd, &q.st.send, empty); err != nil {
			return 0, err
		}
		// The one who ends the stream may have died over it.
		if q.st.ending.Load() == sendsEnding {
			if err := q.endSends(ctx); err != nil {
				return 0, err
			}
		}
	}
}

// corrupt is the error for positions that can't be.
func (q *queue) corrupt(head, tail uint64) error {
	return fmt.Errorf("%w: queue for %d with %d received, %d sent", ErrCorrupt, q.capacity, head, tail)
}
