package futex

import (
	"context"
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

// Lock locks m for writing. It blocks until all readers and the writer before
// are out; it can't be cancelled.
//
// With nil and with [ErrOwnerDead] the caller holds the lock, with any other
// error it does not: [ErrNotAttached].
func (m *RWMutex) Lock() error { return m.LockContext(context.Background()) }

// LockContext is [RWMutex.Lock]: it blocks until nobody holds m, or returns
// ctx.Err(), without the lock, when ctx ends first; readers that it kept out go
// on.
func (m *RWMutex) LockContext(ctx context.Context) error {
	mustHave(ctx)
	r := regionOf(addressOfState(&m.gate))
	if r == nil {
		return ErrNotAttached
	}
	if err := m.recovered(m.writer.LockContext(ctx)); err != nil {
		return err
	}
	m.letReadersIn()
	m.close()
	for used := m.used.Load(); used != 0; used &= used - 1 {
		if err := m.drain(ctx, r, &m.slots[bits.TrailingZeros64(used)]); err != nil {
			m.open()
			m.writer.Unlock()
			return err
		}
	}
	return m.entered()
}

// TryLock locks m for writing if that is possible at once: (true, nil), or
// (true, ErrOwnerDead). It never blocks.
func (m *RWMutex) TryLock() (bool, error) {
	r := regionOf(addressOfState(&m.gate))
	if r == nil {
		return false, ErrNotAttached
	}
	if m.read(r) {
		return false, nil // and no reader is turned away for nothing
	}
	held, err := m.writer.TryLock()
	if held {
		err = m.recovered(err)
	}
	if !held || err != nil {
		return false, err
	}
	m.close()
	if m.read(r) {
		m.open()
		return false, m.writer.Unlock()
	}
	return true, m.entered()
}

// read reports whether a process reads that is not dead. A writer, who has closed
// the gate, can rely on a no.
func (m *RWMutex) read(r *Region) bool {
	for used := m.used.Load(); used != 0; used &= used - 1 {
		s := &m.slots[bits.TrailingZeros64(used)]
		if readers(s.state.Load()) != 0 && !r.fullyDead(s.id.Load()) {
			return true
		}
	}
	return false
}

func (m *RWMutex) entered() error {
	m.gate.Or(inside)
	raceAcquire()
	if m.trouble.Load() != consistent {
		return ErrOwnerDead
	}
	return nil
}

// drain waits until one process reads no more, or is dead.
func (m *RWMutex) drain(ctx context.Context, r *Region, s *readerSlot) error {
	if readers(s.state.Load()) == 0 {
		return nil
	}
	for look := backoffAt(addressOfState(&s.state)); look.again(); {
		if readers(s.state.Load()) == 0 {
			look.hit()
			return nil
		}
	}
	defer done(beginWait(addressOfState(&s.state)))
	p := pinTo(lowWord(&s.state))
	defer p.unpin()
	for {
		v := s.state.Load()
		if readers(v) == 0 {
			return nil
		}
		if r.fullyDead(s.id.Load()) && s.drop(v) {
			return nil
		}
		if asleep := v&^phase | waiters; v != asleep {
			if !s.state.CompareAndSwap(v, asleep) {
				continue
			}
			v = asleep
		}
		if _, err := sleepSome(ctx, &s.state, v); err != nil {
			return err
		}
	}
}

// Unlock unlocks m after Lock. It fails with EPERM, and changes nothing, if this
// process does not hold m for writing. It never blocks.
func (m *RWMutex) Unlock() error {
	r := regionOf(addressOfState(&m.gate))
	if r == nil {
		return ErrNotAttached
	}
	if !m.writer.heldBy(r) {
		return notHeld("RWMutex.Unlock")
	}
	raceRelease()
	m.open()
	return m.writer.Unlock()
}

// MarkConsistent says that what the lock guards is in order again after a
// writer's death. The caller holds m for writing; else it fails with EPERM, or
// with EINVAL if there is nothing to mark.
func (m *RWMutex) MarkConsistent() error {
	r := regionOf(addressOfState(&m.gate))
	switch {
	case r == nil:
		return ErrNotAttached
	case !m.writer.heldBy(r):
		return notHeld("RWMutex.MarkConsistent")
	case !m.trouble.CompareAndSwap(inconsistent, consistent):
		return fmt.Errorf("futex: MarkConsistent of a lock whose last writer did not die: %w", unix.EINVAL)
	}
	return nil
}
