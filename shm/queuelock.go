package shm

import (
	"context"
	"errors"
	"fmt"

	"github.com/rawipc/rawipc/futex"
)

// end is the sending or the receiving end.
func (q *queue) end(i int) *end {
	if i == sendEnd {
		return &q.st.send
	}
	return &q.st.recv
}

// takeEnd takes end i: its lock, or, where this member is alone, not even that. seated
// says whether the caller sits there.
func (q *queue) takeEnd(ctx context.Context, i int, seated bool) error {
	e, s := q.end(i), &q.seats[i]
	if q.begin(e, s, seated) {
		return nil
	}
	if seated && s.alone.Load() {
		q.yieldEnd(e, s)
	}
	if err := q.lock(ctx, e); err != nil {
		return err
	}
	if q.shared(e, s) {
		return nil
	}
	err := q.arrive(ctx, i, seated)
	if err != nil {
		q.unlock(e)
	}
	return err
}

// tryTakeEnd is takeEnd that gives up soon: an end is busy whose lock is taken, or whose
// only member is in a call, or somebody sleeps there who is about to be woken.
func (q *queue) tryTakeEnd(i int, seated bool) (bool, error) {
	e, s := q.end(i), &q.seats[i]
	switch {
	case q.begin(e, s, seated):
		return true, nil
	case !s.alone.Load():
	case seated:
		q.yieldEnd(e, s)
	case e.busy.Load() == q.me:
		return false, nil
	}
	if q.inCall(i) {
		return false, nil
	}
	if ok, err := q.tryLock(e); !ok {
		return false, err
	}
	if q.shared(e, s) {
		return true, nil
	}
	err := q.arrive(over, i, seated)
	if err == nil {
		return true, nil
	}
	q.unlock(e)
	if err == over.Err() {
		err = nil // it would have to wait
	}
	return false, err
}

// giveEnd gives end i back.
func (q *queue) giveEnd(i int) {
	switch e, s := q.end(i), &q.seats[i]; {
	case !s.alone.Load():
		q.unlock(e)
	case !q.finish(e):
		q.yieldEnd(e, s)
	}
}

// lock takes the lock of an end. A dead holder has left nothing to repair.
func (q *queue) lock(ctx context.Context, e *end) error {
	err := e.lock.LockContext(ctx)
	if err == nil && e.cpu.Load() == q.myCPU {
		return nil
	}
	return q.locked(e, err)
}

func (q *queue) locked(e *end, err error) error {
	switch {
	case err == nil:
		e.cpu.Store(q.myCPU)
	case errors.Is(err, futex.ErrOwnerDead):
		if err = e.lock.MarkConsistent(); err != nil {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	case errors.Is(err, futex.ErrNotRecoverable):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// tryLock is lock that gives up soon: an end whose lock is taken is busy, or
// somebody sleeps there who is about to be woken.
func (q *queue) tryLock(e *end) (bool, error) {
	for range 16 { // each look at a holder costs a system call
		ok, err := e.lock.TryLock()
		if err != nil {
			if err = q.locked(e, err); err != nil {
				return false, err
			}
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// unlock gives the lock of an end back. What a peer did to it is found by the
// next one who wants it.
func (q *queue) unlock(e *end) { e.lock.Unlock() }
