package shm

import (
	"context"
	"os"
)

// Send sends v: when it returns nil, v is in shared memory. It blocks while the
// queue is full, or others send, until there is room or ctx ends; then nothing
// was sent. A call that need not wait succeeds though ctx has ended.
//
// Errors: ctx.Err(); os.ErrClosed after CloseSend or Close; EUSERS, at a
// process's first call, if 120 others use the queue; ErrCorrupt if a peer broke
// the rules.
func (q *Queue[T]) Send(ctx context.Context, v T) error {
	need(ctx)
	seated, err := q.sit(sendEnd)
	if err != nil {
		return err
	}
	e := &q.st.send
	if !q.begin(e, &q.seats[sendEnd], seated) {
		err = q.takeEnd(ctx, sendEnd, seated)
	}
	if err == nil {
		tail := e.pos.Load()
		if tail-e.seen.Load() >= q.capacity || q.st.ending.Load() != 0 {
			_, err = q.room(ctx, tail)
		}
		if err == nil {
			q.slots[tail&(q.size-1)] = v
			q.commit(sendEnd, tail+1)
			willStore(q.slots, (tail+q.ahead)&(q.size-1))
		} else {
			q.giveEnd(sendEnd)
		}
	}
	q.rise(sendEnd, seated)
	return err
}

// TrySend is Send that does not wait: it reports false if the queue is full, or
// somebody else is sending.
func (q *Queue[T]) TrySend(v T) (bool, error) {
	n, err := q.trySend(v)
	return n == 1, err
}

func (q *Queue[T]) trySend(v T) (int, error) {
	seated, err := q.sit(sendEnd)
	if err != nil {
		return 0, err
	}
	defer q.rise(sendEnd, seated)
	e := &q.st.send
	if q.st.ending.Load() != 0 {
		return 0, os.ErrClosed
	}
	if e.pos.Load()-q.st.recv.pos.Load() == q.capacity {
		return 0, nil
	}
	if ok, err := q.tryTakeEnd(sendEnd, seated); !ok {
		return 0, err
	}
	tail := e.pos.Load()
	if room, err := q.free(tail); room == 0 || err != nil {
		q.giveEnd(sendEnd)
		return 0, err
	}
	q.slots[tail&(q.size-1)] = v
	q.commit(sendEnd, tail+1)
	return 1, nil
}

// SendBatch sends all of vs, with nothing of others between them, and returns
// how many were sent: all, or fewer with an error. It costs less than as many
// Sends. It blocks, ends with ctx and fails as Send does. What fits is committed
// at once.
func (q *Queue[T]) SendBatch(ctx context.Context, vs []T) (n int, err error) {
	need(ctx)
	seated, err := q.sit(sendEnd)
	if err != nil {
		return 0, err
	}
	defer q.rise(sendEnd, seated)
	e := &q.st.send
	if err := q.takeEnd(ctx, sendEnd, seated); err != nil {
		return 0, err
	}
	for n < len(vs) {
		tail := e.pos.Load()
		room, err := q.room(ctx, tail)
		if err != nil {
			q.giveEnd(sendEnd)
			return n, err
		}
		part := vs[n:min(n+room, len(vs))]
		at := tail & (q.size - 1)
		first := copy(q.slots[at:], part)
		copy(q.slots, part[first:])
		n += len(part)
		if n == len(vs) {
			q.commit(sendEnd, tail+uint64(len(part)))
			return n, nil
		}
		raceRelease()
		e.pos.Store(tail + uint64(len(part)))
		q.wake(&q.st.recv)
	}
	q.giveEnd(sendEnd)
	return n, nil
}

// commit makes what was copied visible, gives end i back and wakes who sleeps at
// the other one.
//
// SYNC queue-tail: the store of pos pairs with the load of the other end. It is
// the one store that counts. It may be a plain one: the unlock after it is one of
// those that all other processors wait for, and for a member that is alone the
// sleeper makes up (queue-alone-sleep).
func (q *queue) commit(i int, pos uint64) {
	raceRelease()
	e, s := q.end(i), &q.seats[i]
	storeBefore(&e.pos, pos)
	switch { // giveEnd, of which a call is saved
	case !s.alone.Load():
		q.unlock(e)
	case !q.finish(e):
		q.yieldEnd(e, s)
	}
	q.wake(q.end(sendEnd + recvEnd - i))
}

// free returns how many messages fit. The caller holds the lock; capacity and
// size are the handle's own, what is loaded is a peer's.
func (q *Queue[T]) free(tail uint64) (int, error) {
	if q.st.ending.Load() != 0 {
		return 0, os.ErrClosed
	}
	e := &q.st.send
	used := tail - e.seen.Load()
	if used >= q.capacity { // full, as it was then; or a bad position
		head := q.st.recv.pos.Load()
		if used = tail - head; used > q.capacity {
			return 0, q.corrupt(head, tail)
		}
		storeBefore(&e.seen, head)
	}
	return int(q.capacity - used), nil
}

// room waits until a message fits, and returns how many do.
func (q *Queue[T]) room(ctx context.Context, tail uint64) (int, error) {
	if old := tail - q.capacity; q.st.send.seen.Load() == old { // full, as it was then
		q.spins[sendEnd].Glance(q.apart(&q.st.recv), &q.st.recv.pos, old, 1, &q.st.recv.pos)
	}
	n, err := q.free(tail)
	if n > 0 || err != nil {
		return n, err
	}
	full := func() bool {
		return tail-q.st.recv.pos.Load() == q.capacity && q.st.ending.Load() == 0
	}
	if err := q.await(ctx, sendEnd, &q.st.recv, full); err != nil {
		return 0, err
	}
	return q.free(tail)
}
