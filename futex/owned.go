package futex

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ownedTokens are the tokens of a Semaphore that are known by their process,
// and come back when it dies: a count for each process that has had one.
//
// To take a token and to count it are two stores, and a process may die between
// them. So they are made under a lock that survives, with a note of what is
// about to be: the change of the tokens flips a bit in the state, which nothing
// else changes, so that whoever finds the note can tell whether it was made.
type ownedTokens struct {
	mu      RobustMutex
	watched atomic.Uint32 // not 0 once waiters must look for dead owners
	_       uint32

	noted atomic.Uint32 // 1 while the note below counts
	slot  atomic.Uint32
	count atomic.Uint32 // the slot's new count
	flip  atomic.Uint32 // the state's bit before the change
	slots [MaxOwners]struct {
		id    atomic.Uint32 // the process's identity, 0: free
		count atomic.Uint32
	}
}

// MaxOwners is the number of processes that can own tokens of one [Semaphore]
// at a time.
const MaxOwners = 64

// watch tells the waiters to look for dead owners from now on: before a first
// token is owned.
//
// SYNC watch: who doesn't watch sleeps on watched too, as long as it is 0; here
// it is stored, then they are woken. Who finds 1 can't know whether the one who
// stored it lived to wake them, and does so itself.
func (s *Semaphore) watch() {
	if w := &s.owned.watched; w.Load() != 2 {
		w.CompareAndSwap(0, 1)
		futexWake(w, maxInt32, matchAny)
		w.Store(2)
	}
}

// AcquireOwned is [Semaphore.Acquire] of a token that belongs to this process:
// when it dies, the token comes back. Who waits for a token sees that within
// 250 ms. Such a token is given back by [Semaphore.ReleaseOwned]. It blocks until
// there is a token, or returns ctx.Err(), without one, when ctx ends first.
//
// Further errors: [ErrNotAttached]; EAGAIN if [MaxOwners] living processes own
// tokens.
func (s *Semaphore) AcquireOwned(ctx context.Context) error {
	mustHave(ctx)
	r := regionOf(addressOfState(&s.state))
	if r == nil {
		return ErrNotAttached
	}
	s.watch()
	take := func() (bool, error) { return s.takeOwned(ctx, r) }
	if ok, err := take(); ok || err != nil {
		return err
	}
	return s.acquireSlow(ctx, take)
}

// ReleaseOwned gives a token back that this process has from
// [Semaphore.AcquireOwned], and wakes a waiter. It fails with EPERM if this
// process owns none. It blocks only for another process's owned operation.
func (s *Semaphore) ReleaseOwned() error {
	r := regionOf(addressOfState(&s.state))
	if r == nil {
		return ErrNotAttached
	}
	raceRelease()
	defer done(beginWake(addressOfState(&s.state)))
	if err := s.lockOwned(context.Background()); err != nil {
		return err
	}
	defer s.owned.mu.Unlock()
	// Not before: who is pinned holds a thread, and many may wait for the lock.
	p := pinTo(lowWord(&s.state))
	defer p.unpin()
	for i := range s.owned.slots {
		if sl := &s.owned.slots[i]; sl.id.Load() == r.id && sl.count.Load() > 0 {
			if full := s.full(s.state.Load()); full {
				return s.overflow()
			}
			s.change(i, sl.count.Load()-1, 1)
			return nil
		}
	}
	return fmt.Errorf("futex: ReleaseOwned by a process that owns no token: %w", unix.EPERM)
}

// takeOwned takes a token for this process if there is one.
func (s *Semaphore) takeOwned(ctx context.Context, r *Region) (bool, error) {
	if tokens(s.state.Load()) == 0 {
		return false, nil
	}
	if err := s.lockOwned(ctx); err != nil {
		return false, err
	}
	defer s.owned.mu.Unlock()
	i, err := s.slotFor(r)
	if err != nil {
		return false, err
	}
	return s.change(i, s.owned.slots[i].count.Load()+1, -1), nil
}

// lockOwned takes the lock of the owned tokens, and finishes what a dead holder
// had begun.
func (s *Semaphore) lockOwned(ctx context.Context) error {
	ok, err := s.owned.mu.TryLock()
	if !ok && err == nil {
		// While this thread waits for the lock it can't name the semaphore's
		// word too. A wake that it may have been given is passed on first.
		futexWake(lowWord(&s.state), 1, matchAny)
		err = s.owned.mu.LockContext(ctx)
	}
	if errors.Is(err, ErrOwnerDead) {
		s.finish()
		err = s.owned.mu.MarkConsistent()
	}
	return err
}

// change moves one token (d is 1 or -1) or, for a dead owner, d of them, and
// sets the slot's count, so that a death in between can be finished. It fails
// if there is no token to take. The lock is held.
func (s *Semaphore) change(slot int, count uint32, d int64) bool {
	o := &s.owned
	o.slot.Store(uint32(slot))
	o.count.Store(count)
	o.flip.Store(uint32(s.state.Load() >> 63))
	o.noted.Store(1)
	for {
		v := s.state.Load()
		n := int64(tokens(v)) + d
		if n < 0 {
			o.noted.Store(0)
			return false
		}
		if s.state.CompareAndSwap(v, withTokens(v, min(uint64(n), s.max()))^ownedFlip) {
			o.slots[slot].count.Store(count)
			o.noted.Store(0)
			if d > 0 && v&waiters != 0 {
				wakeSleepers(&s.state, int32(d))
			}
			raceAcquire()
			return true
		}
	}
}

// finish brings a change to its end that a dead process had noted. The lock is
// held.
func (s *Semaphore) finish() {
	o := &s.owned
	if o.noted.Load() == 0 {
		return
	}
	if slot := o.slot.Load(); slot < MaxOwners && uint32(s.state.Load()>>63) != o.flip.Load()&1 {
		o.slots[slot].count.Store(o.count.Load())
	}
	o.noted.Store(0)
}

// slotFor finds or takes this process's slot. The lock is held.
func (s *Semaphore) slotFor(r *Region) (int, error) {
	free := -1
	for i := range s.owned.slots {
		switch sl := &s.owned.slots[i]; {
		case sl.id.Load() == r.id:
			return i, nil
		case free < 0 && sl.count.Load() == 0:
			free = i
		}
	}
	if free < 0 {
		if free = s.reclaim(r); free < 0 {
			return 0, fmt.Errorf("futex: Semaphore: %d processes own tokens already: %w", MaxOwners, unix.EAGAIN)
		}
	}
	s.owned.slots[free].id.Store(r.id)
	return free, nil
}

// reclaim gives back what dead processes owned, and returns a slot that became
// free, or -1. The lock is held.
func (s *Semaphore) reclaim(r *Region) int {
	free := -1
	for i := range s.owned.slots {
		sl := &s.owned.slots[i]
		if n := sl.count.Load(); n > 0 && r.fullyDead(sl.id.Load()) {
			s.change(i, 0, int64(min(n, MaxTokens)))
			free = i
		}
	}
	return free
}

// reclaimEvery is how often a waiter looks for tokens of the dead. It is
// shorter in tests.
var reclaimEvery = 250 * time.Millisecond

// sleepAndReclaim sleeps for that long at most, then looks.
func (s *Semaphore) sleepAndReclaim(ctx context.Context, p pin, v uint64) error {
	r := regionOf(addressOfState(&s.state))
	if r == nil {
		return p.sleep(ctx, lowWord(&s.state), lowPart(v))
	}
	var ts unix.Timespec
	err := wait(ctx, lowWord(&s.state), lowPart(v), matchAny, monotonicAfter(reclaimEvery, &ts))
	if err != os.ErrDeadlineExceeded {
		return err
	}
	ok, err := s.owned.mu.TryLock()
	if !ok {
		return err // somebody else is at it
	}
	if err != nil {
		s.finish()
		s.owned.mu.MarkConsistent()
	}
	s.reclaim(r)
	return s.owned.mu.Unlock()
}
