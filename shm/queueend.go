package shm

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// CloseSend ends the stream for all processes: later sends fail with
// os.ErrClosed, receivers get what was sent and then io.EOF. It waits for sends
// that are under way, which either are done or fail; those that wait for room
// fail. A second CloseSend does nothing.
func (q *queue) CloseSend() error { return q.CloseSendContext(context.Background()) }

// CloseSendContext is [Queue.CloseSend] that returns ctx.Err() if ctx ends while
// it waits. The stream ends all the same: no further send succeeds, and receivers
// get io.EOF once those that are under way are over.
func (q *queue) CloseSendContext(ctx context.Context) error {
	need(ctx)
	if err := q.enter(); err != nil {
		return err
	}
	defer q.leave()
	// SYNC queue-ending: whoever is killed here leaves a stream that is ending,
	// and his death wakes both sleepers; a receiver then ends it.
	q.st.ending.CompareAndSwap(0, sendsEnding)
	q.wake(&q.st.send)
	return q.endSends(ctx)
}

// endSends makes a stream that is ending end: with the lock of the sending end
// in hand, nobody is sending, and nobody will.
func (q *queue) endSends(ctx context.Context) error {
	if err := q.takeEnd(ctx, sendEnd, false); err != nil {
		return err
	}
	q.st.ending.Store(sendsEnded)
	q.giveEnd(sendEnd)
	q.wake(&q.st.recv)
	return nil
}

// tryEndSends is endSends that does not wait.
func (q *queue) tryEndSends() {
	if ok, _ := q.tryTakeEnd(sendEnd, false); ok {
		q.st.ending.Store(sendsEnded)
		q.giveEnd(sendEnd)
	}
}

// Done says that one message which was received is done with: see Join. It
// fails with EINVAL if more were done than received. It never blocks.
func (q *queue) Done() error {
	if err := q.enter(); err != nil {
		return err
	}
	defer q.leave()
	for {
		done, received := q.st.done.Load(), q.received()
		if done&q.counts() == received {
			return fmt.Errorf("shm: Done for message %d, %d were received: %w", done+1, received, unix.EINVAL)
		}
		if q.st.done.CompareAndSwap(done, done+1) {
			if (done+1)&q.counts() == q.sent() {
				q.wake(&q.st.join)
			}
			return nil
		}
	}
}

// Join blocks until every message that was sent is done with, or ctx ends. A
// message whose receiver was killed before it called Done is never done with.
func (q *queue) Join(ctx context.Context) error {
	need(ctx)
	if err := q.enter(); err != nil {
		return err
	}
	defer q.leave()
	e := &q.st.join
	if err := q.lock(ctx, e); err != nil {
		return err
	}
	defer q.unlock(e)
	return q.await(ctx, joinEnd, &q.st.recv, func() bool { return q.st.done.Load()&q.counts() != q.sent() })
}

// A position counts messages in its upper bits, from shift on, so that one store
// commits all that a message changes.
func (q *queue) counts() uint64   { return ^uint64(0) >> q.shift }
func (q *queue) sent() uint64     { return q.st.send.pos.Load() >> q.shift }
func (q *queue) received() uint64 { return q.st.recv.pos.Load() >> q.shift }
