package futex

import (
	"errors"
	"fmt"
	"structs"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Cond lets goroutines of several processes wait for something that a lock
// guards, and tell each other that it may have come: Python's Condition. Who
// waits holds the lock, looks, and calls Wait, which gives the lock up while it
// sleeps; who changes something calls Signal, Notify or Broadcast.
//
// Signals go to those that waited before, the longest waiting process first,
// never to one that came later. A process killed while it waits, or between a
// signal and its return from Wait, or in the middle of Signal or Broadcast,
// strands nobody: what it left undone is finished by the next operation on the
// Cond, or within 250 ms by a waiter; a signal that a dead process had not
// consumed, because it had not yet got the lock back, goes to another one.
//
// The zero value has no waiters. It is about 4 KiB, aligned to 8, in memory that
// each process has declared with [Attach] (package shm does). It has room for
// [MaxWaiters] processes that wait at one time, with up to 65,535 goroutines
// each. All that wait at one time use one lock.
//
// In the terminology of the Go memory model, a Signal or Broadcast synchronizes
// before the return of a Wait that it ends.
//
// The algorithm is this project's: no sequence numbers, which wrap, and no
// groups, but a count of waiters and one of signals for each process, which the
// kernel's robust list of that process guards together with an inner lock.
type Cond struct {
	_    structs.HostLayout
	_    noCopy
	mu   RobustMutex   // held for each change of the slots
	turn atomic.Uint64 // the next waiting process's place in line
	lock atomic.Uint64 // where the waiters' lock lies, from here; 0: nobody waits
	all  atomic.Uint32 // 1 while a Broadcast is not through
	top  atomic.Uint32 // as many slots have been in use

	slots [MaxWaiters]waiterSlot
}

// MaxWaiters is the number of processes that can wait on one [Cond].
const MaxWaiters = 64

// waiterSlot is one process's part of a Cond. All but state's low half is
// changed only under the Cond's lock, by one store each. Only one goroutine of
// the process sleeps on state, and only it takes signals while it may: so what
// it sees there is never older than what it goes to sleep on.
type waiterSlot struct {
	// state: the low half as in sleepword.go, with phase meaning "no signal";
	// above it 16 bits goroutines that wait, 16 bits signals for them.
	state atomic.Uint64
	since atomic.Uint64 // place in line among the processes
	live  atomic.Uint64 // as a Liveness's state: whose the slot is; 0: nobody's
	// busy counts goroutines that have taken a signal and not yet the waiters'
	// lock: their process's death gives the signal back. It needs no lock.
	busy atomic.Uint64
	_    [32]byte
}

const maxCondWaiters = 1<<16 - 1

func waiting(v uint64) uint64 { return v >> 32 & maxCondWaiters }
func signals(v uint64) uint64 { return v >> 48 }

func withWaiting(v, waiting, signals uint64) uint64 {
	v = v&waiters | waiting<<32 | signals<<48
	if signals == 0 {
		v |= phase
	}
	return v
}

// set stores a new count. The low half may change beside it.
func (s *waiterSlot) set(waiting, signals uint64) {
	for {
		v := s.state.Load()
		if s.state.CompareAndSwap(v, withWaiting(v, waiting, signals)) {
			return
		}
	}
}

// A CondLocker is a lock that a [Cond] can wait under: *[Mutex] or
// *[RobustMutex].
type CondLocker interface {
	condLock() error
	condUnlock() error
	condHeld() bool
	condAddr() uintptr
}

func (m *Mutex) condLock() error   { m.Lock(); return nil }
func (m *Mutex) condUnlock() error { m.Unlock(); return nil }
func (m *Mutex) condHeld() bool    { return m.state.Load() != unlocked }
func (m *Mutex) condAddr() uintptr { return addressOfWord(&m.state) }

func (m *RobustMutex) condLock() error   { return m.Lock() }
func (m *RobustMutex) condUnlock() error { return m.Unlock() }
func (m *RobustMutex) condAddr() uintptr { return addressOfState(&m.state) }
func (m *RobustMutex) condHeld() bool {
	r := regionOf(addressOfState(&m.state))
	return r != nil && m.heldBy(r)
}

// enterCond takes the inner lock. Each store under it leaves all in order; what
// a dead holder may not have come to is a wake, or the rest of a Broadcast.
func (c *Cond) enterCond() (*Region, error) {
	r := regionOf(addressOfState(&c.turn))
	if r == nil {
		return nil, ErrNotAttached
	}
	err := c.mu.Lock()
	if errors.Is(err, ErrOwnerDead) {
		used := c.used()
		for i := range used {
			if s := &used[i]; signals(s.state.Load()) > 0 {
				wakeAllSleepers(&s.state)
			}
		}
		if c.all.Load() != 0 {
			c.send(All)
		}
		if err = c.mu.MarkConsistent(); err != nil {
			c.mu.Unlock()
		}
	}
	if err != nil {
		// Not wrapped: of Wait, ErrNotRecoverable says something else.
		return nil, fmt.Errorf("futex: a peer has damaged the Cond: %v: %w", err, unix.EIO)
	}
	return r, nil
}

// Signal wakes one waiter, if there is one: the longest waiting process's. The
// caller need not hold the waiters' lock. It blocks only for other operations
// on c, which are short. Errors: [ErrNotAttached].
func (c *Cond) Signal() error { return c.Notify(1) }

// Broadcast wakes all that wait now, as [Cond.Signal] does one.
func (c *Cond) Broadcast() error { return c.Notify(All) }

// Notify wakes n of those that wait now, all if there are no more, as
// [Cond.Signal] does one. It fails with EINVAL if n is negative.
func (c *Cond) Notify(n int) error {
	if n < 0 {
		return fmt.Errorf("futex: Cond.Notify(%d): want 0 or more: %w", n, unix.EINVAL)
	}
	if c.lock.Load() == 0 {
		return nil // nobody that began before this call waits
	}
	raceRelease()
	defer done(beginWake(addressOfState(&c.turn)))
	r, err := c.enterCond()
	if err != nil {
		return err
	}
	c.reap(r, false)
	if n != 1 {
		c.send(n)
		return c.mu.Unlock()
	}
	s := c.oldest()
	if s == nil {
		return c.mu.Unlock()
	}
	// The one who is woken wants the lock at once. So the wake comes after it.
	p := pinTo(lowWord(&s.state))
	defer p.unpin()
	c.give(s, 1)
	err = c.mu.Unlock()
	s.wake()
	return err
}

// send gives out n signals. The inner lock is held.
func (c *Cond) send(n int) {
	if n == All {
		c.all.Store(1) // so that all will have been woken, whoever does it
		for range c.used() {
			if s := c.oldest(); s != nil {
				v := s.state.Load()
				c.signal(s, waiting(v)-signals(v))
			}
		}
		c.all.Store(0)
		return
	}
	for s := c.oldest(); s != nil && n > 0; s = c.oldest() {
		c.signal(s, 1)
		n--
	}
}

// signal gives k signals to one process and wakes it. The inner lock is held.
func (c *Cond) signal(s *waiterSlot, k uint64) {
	p := pinTo(lowWord(&s.state))
	defer p.unpin()
	c.give(s, k)
	s.wake()
}

// give is signal without the wake. The thread names the word until it has come
// to that: if it dies before, the kernel wakes the sleeper. There is one, the
// process's head of the line.
func (c *Cond) give(s *waiterSlot, k uint64) {
	v := s.state.Load()
	s.set(waiting(v), min(signals(v)+k, waiting(v)))
	s.since.Store(c.turn.Add(1))
}

func (s *waiterSlot) wake() {
	if s.state.Load()&waiters != 0 {
		wakeAllSleepers(&s.state)
	}
}
