package futex

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A condQueue holds the goroutines of this process that wait on one Cond, the
// oldest first. One of them, the head of the line, sleeps in the kernel for all
// and hands the process's signals out. An empty one serves any Cond that comes
// to lie at the same place.
type condQueue struct {
	users   int           // guarded by condQueues
	head    chan struct{} // holds one value while nobody is at the head
	mu      sync.Mutex
	waiters []*condWaiter
}

type condWaiter struct {
	signalled bool          // guarded by the queue's mutex
	wake      chan struct{} // gets one value with that
}

var condWaiters = sync.Pool{New: func() any { return &condWaiter{wake: make(chan struct{}, 1)} }}

// free gives w back, which no queue holds any more.
func (w *condWaiter) free() {
	select {
	case <-w.wake:
	default:
	}
	w.signalled = false
	condWaiters.Put(w)
}

var condQueues = struct {
	sync.Mutex
	at map[uintptr]*condQueue
}{at: make(map[uintptr]*condQueue)}

// idleQueues is how many queues are kept for the next time.
const idleQueues = 16

func (c *Cond) openQueue() *condQueue {
	condQueues.Lock()
	defer condQueues.Unlock()
	at := addressOfState(&c.turn)
	q := condQueues.at[at]
	if q == nil {
		q = &condQueue{head: make(chan struct{}, 1)}
		q.head <- struct{}{}
		condQueues.at[at] = q
	}
	q.users++
	return q
}

func (c *Cond) closeQueue(q *condQueue) {
	condQueues.Lock()
	defer condQueues.Unlock()
	if q.users--; q.users == 0 && len(condQueues.at) > idleQueues {
		delete(condQueues.at, addressOfState(&c.turn))
	}
}

// Wait gives m up, waits for a signal, and locks m again. The caller holds m.
// It blocks until there is a signal or ctx ends, and then until m is free: m is
// held when it returns, save with an error that says otherwise. Wakes may be
// spurious: look again, in a loop, or use [Cond.WaitFor].
//
// Errors, with m held: ctx.Err(); [ErrOwnerDead] if m's owner died meanwhile
// (repair what it guards); EINVAL if others wait with another lock; EAGAIN when
// there are too many waiters; [ErrNotAttached]; EIO if a peer that breaks the
// rules has made c useless; EPERM if the caller did not hold m. With m not
// held: [ErrNotRecoverable].
func (c *Cond) Wait(ctx context.Context, m CondLocker) error {
	mustHave(ctx)
	if !m.condHeld() {
		return fmt.Errorf("futex: Cond.Wait without its lock: %w", unix.EPERM)
	}
	q := c.openQueue()
	defer c.closeQueue(q)
	defer done(beginWait(addressOfState(&c.turn)))
	// From join on this goroutine counts as waiting: a signal that is sent
	// after the unlock is for it.
	s, w, err := c.join(q, m)
	if err != nil {
		return err
	}
	defer w.free()
	if err := m.condUnlock(); err != nil {
		if c.withdraw(s, q, w, err) == nil {
			s.busy.Add(^uint64(0))
		}
		return err
	}
	err = c.await(ctx, s, q, w)
	lockErr := m.condLock()
	// A kernel that refuses to let us sleep, or to give memory, is asked again: the
	// caller could not tell that he has no lock.
	for lockErr != nil && errors.As(lockErr, new(*os.SyscallError)) {
		time.Sleep(time.Millisecond)
		lockErr = m.condLock()
	}
	if err == nil {
		s.busy.Add(^uint64(0)) // the signal has arrived
	}
	if lockErr != nil {
		return lockErr
	}
	return err
}

// lockPlace says where m lies, as all processes see it: its distance from c, or
// 1 if it is in other memory.
func (c *Cond) lockPlace(m CondLocker) uint64 {
	if regionOf(m.condAddr()) != regionOf(addressOfState(&c.turn)) {
		return 1
	}
	return uint64(m.condAddr() - addressOfState(&c.turn))
}

// join counts this goroutine as one that waits.
func (c *Cond) join(q *condQueue, m CondLocker) (*waiterSlot, *condWaiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, err := c.enterCond()
	if err != nil {
		return nil, nil, err
	}
	defer c.mu.Unlock()
	place := c.lockPlace(m)
	if have := c.lock.Load(); have != 0 && have != place {
		// Those with the other lock may all be dead, or one began to wait and
		// did not live to.
		c.reap(r, true)
		c.forget()
	}
	if have := c.lock.Load(); have != 0 && have != place {
		return nil, nil, fmt.Errorf("futex: Cond.Wait with another lock than those that wait already: %w", unix.EINVAL)
	}
	s, err := c.slotFor(r)
	if err != nil {
		return nil, nil, err
	}
	v := s.state.Load()
	if waiting(v) == maxCondWaiters {
		return nil, nil, fmt.Errorf("futex: Cond.Wait: %d goroutines of this process wait already: %w", maxCondWaiters, unix.EAGAIN)
	}
	if waiting(v) == 0 {
		s.since.Store(c.turn.Add(1))
	}
	c.lock.Store(place)
	s.set(waiting(v)+1, signals(v))
	w := condWaiters.Get().(*condWaiter)
	q.waiters = append(q.waiters, w)
	return s, w, nil
}

// await waits for a signal, in the line of this process.
func (c *Cond) await(ctx context.Context, s *waiterSlot, q *condQueue, w *condWaiter) error {
	select {
	case <-q.head:
	default:
		select {
		case <-w.wake:
			raceAcquire()
			return nil
		case <-ctx.Done():
			return c.withdraw(s, q, w, ctx.Err())
		case <-q.head:
		}
	}
	defer func() { q.head <- struct{}{} }()
	for yielded := false; ; {
		// At the head of the line only this goroutine hands out, so that of
		// what it finds here nothing changes behind its back before it sleeps.
		select {
		case <-w.wake:
			raceAcquire()
			return nil
		default:
		}
		v := s.state.Load()
		if signals(v) > 0 {
			if err := c.handOut(s, q); err != nil {
				return c.withdraw(s, q, w, err)
			}
			continue
		}
		if !yielded {
			yielded = true
			if yielderOf(addressOfState(&s.state)).yield(func() bool { return signals(s.state.Load()) > 0 }) {
				continue
			}
		}
		if to := withWaiting(v|waiters, waiting(v), 0); v != to {
			if !s.state.CompareAndSwap(v, to) {
				continue
			}
			v = to
		}
		timedOut, err := sleepSome(ctx, &s.state, v)
		if err == nil && timedOut {
			err = c.lookAfterDead()
		}
		if err != nil {
			return c.withdraw(s, q, w, err)
		}
	}
}

// lookAfterDead finishes what dead processes left.
func (c *Cond) lookAfterDead() error {
	r, err := c.enterCond()
	if err != nil {
		return err
	}
	c.reap(r, true)
	return c.mu.Unlock()
}

// handOut gives the signals of this process to its oldest goroutines.
func (c *Cond) handOut(s *waiterSlot, q *condQueue) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, err := c.enterCond(); err != nil {
		return err
	}
	defer c.mu.Unlock()
	v := s.state.Load()
	k := min(signals(v), uint64(len(q.waiters)))
	s.busy.Add(k)
	s.set(max(waiting(v), k)-k, signals(v)-k)
	for _, w := range q.waiters[:k] {
		w.signalled = true
		w.wake <- struct{}{}
	}
	q.waiters = slices.Delete(q.waiters, 0, int(k))
	c.forget()
	return nil
}

// withdraw takes a goroutine out that gives up because of err. If it has been
// signalled, or there is a signal for it, it is not too late: the signal counts.
// What is there for others is left to the head of the line.
func (c *Cond) withdraw(s *waiterSlot, q *condQueue, w *condWaiter, err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.signalled {
		raceAcquire()
		return nil
	}
	place := slices.Index(q.waiters, w)
	q.waiters = slices.Delete(q.waiters, place, place+1)
	if _, err := c.enterCond(); err != nil {
		return err
	}
	defer c.mu.Unlock()
	v := s.state.Load()
	left, sent := max(waiting(v), 1)-1, signals(v)
	if uint64(place) < sent {
		raceAcquire()
		s.busy.Add(1)
		sent, err = sent-1, nil
	}
	s.set(left, sent)
	c.forget()
	return err
}

// WaitFor waits until pred, which is called with m held, is true: it calls
// [Cond.Wait] in a loop, and ends with ctx and fails as that does. If pred panics,
// WaitFor does too, with m still held and nobody counted as waiting.
func (c *Cond) WaitFor(ctx context.Context, m CondLocker, pred func() bool) error {
	for !pred() {
		if err := c.Wait(ctx, m); err != nil {
			return err
		}
	}
	return nil
}
