package futex

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"structs"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// An Owner is who holds a [RecursiveMutex]: what a thread is elsewhere.
// Goroutines have no identity, so each that locks recursively has an Owner of
// its own, from [NewOwner]. It belongs to one process and serves one goroutine
// at a time.
type Owner struct{ id uint64 }

// NewOwner makes an Owner, different from all others in all processes.
func NewOwner() *Owner {
	for {
		if id := rand.Uint64(); id != 0 {
			return &Owner{id}
		}
	}
}

// check panics for an Owner that is nobody: a lock between two holders has no
// owner either, and would take this one for its holder.
func (o *Owner) check() {
	if o == nil || o.id == 0 {
		panic("futex: a RecursiveMutex wants an Owner from NewOwner")
	}
}

// A RecursiveMutex is a [RobustMutex] that its holder can lock again: Python's
// RLock. It is free when it has been unlocked as often as it was locked. When
// the holder's process dies, the next one to lock gets it with [ErrOwnerDead],
// locked once.
//
// The zero value is unlocked. It is 32 bytes, aligned to 8, in memory that each
// process has declared with [Attach] (package shm does). Its methods may be called
// concurrently, by each goroutine with its own Owner.
type RecursiveMutex struct {
	_     structs.HostLayout
	_     noCopy
	mu    RobustMutex
	owner atomic.Uint64 // the holder's id, written by the holder only
	depth atomic.Uint32 // how often it is locked, likewise
	_     uint32
}

// Lock locks m for o, once more if o holds it. It blocks until m is free; it
// can't be cancelled. It returns what [RobustMutex.Lock] does, and EAGAIN at a
// depth of 2³²-1.
func (m *RecursiveMutex) Lock(o *Owner) error { return m.LockContext(context.Background(), o) }

// LockContext is [RecursiveMutex.Lock]: it blocks until m is free for o, or
// returns ctx.Err(), without the lock, when ctx ends first.
func (m *RecursiveMutex) LockContext(ctx context.Context, o *Owner) error {
	if m.heldBy(o) {
		return m.deeper()
	}
	return m.taken(o, m.mu.LockContext(ctx))
}

// TryLock locks m for o if that is possible at once, as [RobustMutex.TryLock]
// does, or once more if o holds it.
func (m *RecursiveMutex) TryLock(o *Owner) (bool, error) {
	if m.heldBy(o) {
		err := m.deeper()
		return err == nil, err
	}
	ok, err := m.mu.TryLock()
	if !ok {
		return false, err
	}
	return true, m.taken(o, err)
}

// taken notes the new holder.
func (m *RecursiveMutex) taken(o *Owner, err error) error {
	if err == nil || errors.Is(err, ErrOwnerDead) {
		m.depth.Store(1)
		m.owner.Store(o.id)
	}
	return err
}

func (m *RecursiveMutex) deeper() error {
	if m.depth.Load() == math.MaxUint32 {
		return fmt.Errorf("futex: a RecursiveMutex is locked %d times already: %w", uint32(math.MaxUint32), unix.EAGAIN)
	}
	m.depth.Add(1)
	return nil
}

// heldBy reports whether o holds m. The id alone would do for the living; that
// this process holds the lock rules out what a dead one left there.
func (m *RecursiveMutex) heldBy(o *Owner) bool {
	if o.check(); m.owner.Load() != o.id {
		return false
	}
	r := regionOf(addressOfState(&m.mu.state))
	return r != nil && m.mu.heldBy(r)
}

func notHeldBy(call string) error {
	return fmt.Errorf("futex: RecursiveMutex.%s by an Owner that does not hold it: %w", call, unix.EPERM)
}

// Unlock undoes one Lock of o, and frees m with the last. It fails with EPERM,
// and changes nothing, if o does not hold m. After ErrOwnerDead without
// MarkConsistent the last Unlock gives the lock up, as [RobustMutex.Unlock]
// does. It never blocks.
func (m *RecursiveMutex) Unlock(o *Owner) error {
	if !m.heldBy(o) {
		return notHeldBy("Unlock")
	}
	if n := m.depth.Load(); n > 1 {
		m.depth.Store(n - 1)
		return nil
	}
	m.owner.Store(0)
	m.depth.Store(0)
	return m.mu.Unlock()
}

// MarkConsistent is [RobustMutex.MarkConsistent] by the holder o.
func (m *RecursiveMutex) MarkConsistent(o *Owner) error {
	if !m.heldBy(o) {
		return notHeldBy("MarkConsistent")
	}
	return m.mu.MarkConsistent()
}
