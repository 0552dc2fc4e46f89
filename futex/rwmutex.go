package futex

import (
	"context"
	"fmt"
	"structs"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A RWMutex is a lock between processes that either any number of readers hold
// or one writer, and that survives them all: when a process dies that held it,
// as a reader or as the writer, the others go on.
//
// A dead reader is no more than gone. After a dead writer all that lock, readers
// too, hold the lock together with [ErrOwnerDead], until a writer calls
// MarkConsistent. A writer that waits keeps new readers out, so readers don't
// starve it, and readers that wait when it leaves get in before the next one.
// Death is noticed within 250 ms by those who wait.
//
// The zero value is unlocked. It is about 4 KiB, aligned to 8, in memory that
// each process has declared with [Attach] (package shm does). It has room for
// [MaxReaders] processes that read; any number of goroutines of each may. A
// lock belongs to a process. A process that locks for writing while one of its
// own goroutines reads waits for that one: there is no upgrade. Nor may a
// goroutine that reads lock for reading once more: a writer that came in between
// waits for it, and it for the writer.
//
// In the terminology of the Go memory model, an Unlock synchronizes before each
// later RLock and Lock returns, an RUnlock before each later Lock does.
//
// The readers' counts are apart, one for each process, as in BRAVO (Dice and
// Kogan, 2019) and the kernel's per-CPU locks: reading processes don't take
// cache lines from each other, and a dead one's count can be told and dropped.
type RWMutex struct {
	_      structs.HostLayout
	_      noCopy
	writer RobustMutex // held by the writer, and by whoever recovers from a dead one
	// gate keeps readers out while a writer is in or waits for readers to
	// leave. The low half as in sleepword.go, with phase meaning "closed"; above
	// it one bit, inside.
	gate    atomic.Uint64
	used    atomic.Uint64 // a bit for each slot that ever had a process
	trouble atomic.Uint32 // inconsistent since a writer's death; written by writers
	owed    atomic.Uint32 // see letReadersIn
	_       [24]byte
	slots   [MaxReaders]readerSlot
}

// RLock and RUnlock are two locked instructions, 9.5 ns of 11.0; the rest is, one
// may guess, the load of slotCache, which the instruction before holds up and the
// next one waits for. Lost: no check of the stack in either (go:nosplit): the same 11.0.

// RLock locks m for reading. It blocks while a writer has it or waits for it; it
// can't be cancelled.
//
// With nil and with [ErrOwnerDead] the caller holds the lock, with any other
// error it does not: [ErrNotAttached], EAGAIN when [MaxReaders] other processes
// read (the error says so).
func (m *RWMutex) RLock() error {
	if s := m.quickSlot(); s != nil {
		// What enter does, where nothing is in the way.
		if v := s.state.Add(oneReader); readers(v) <= maxReaders {
			if m.gate.Load()&phase == 0 && m.trouble.Load() == consistent {
				raceAcquire()
				return nil
			}
			return m.rlock(context.Background(), s)
		}
		s.state.Add(^uint64(oneReader - 1))
	}
	return m.RLockContext(context.Background())
}

// RLockContext is [RWMutex.RLock]: it blocks until no writer holds or awaits m,
// or returns ctx.Err(), without the lock, when ctx ends first.
func (m *RWMutex) RLockContext(ctx context.Context) error {
	mustHave(ctx)
	s, err := m.slot()
	if err == nil {
		err = m.count(s)
	}
	if err != nil {
		return err
	}
	return m.rlock(ctx, s)
}

// rlock is RLockContext of a reader that is counted.
func (m *RWMutex) rlock(ctx context.Context, s *readerSlot) error {
	in, err := m.look(s)
	for !in && err == nil {
		if err = m.waitGate(ctx); err == nil {
			in, err = m.enter(s)
			m.turnTaken()
		}
	}
	return err
}

// TryRLock locks m for reading if that is possible at once: (true, nil), or
// (true, ErrOwnerDead). (false, nil) means that a writer has it or waits for
// it. It never blocks.
func (m *RWMutex) TryRLock() (bool, error) {
	s, err := m.slot()
	if err != nil {
		return false, err
	}
	if in, err := m.enter(s); in || err != nil {
		return in, err
	}
	if recovered, err := m.recoverWriter(); !recovered || err != nil {
		return false, err
	}
	return m.enter(s)
}

// enter counts a reader and says whether the gate lets it in.
//
// SYNC rw-gate: the reader counts, then looks at the gate; the writer closes
// the gate, then looks at the counts. All four are sequentially consistent, so
// at least one sees the other.
func (m *RWMutex) enter(s *readerSlot) (in bool, err error) {
	if err := m.count(s); err != nil {
		return false, err
	}
	return m.look(s)
}

func (m *RWMutex) count(s *readerSlot) error {
	if n := readers(s.state.Add(oneReader)); n > maxReaders {
		s.state.Add(^uint64(oneReader - 1))
		return fmt.Errorf("futex: RWMutex: %d readers in this process, which is the limit: %w", n-1, unix.EAGAIN)
	}
	return nil
}

func (m *RWMutex) look(s *readerSlot) (in bool, err error) {
	if m.gate.Load()&phase != 0 {
		return false, m.leave(s)
	}
	raceAcquire()
	if m.trouble.Load() != consistent {
		return true, ErrOwnerDead
	}
	return true, nil
}

// RUnlock undoes one RLock. It fails with EPERM, and changes nothing, if no
// goroutine of this process holds m for reading. It never blocks.
func (m *RWMutex) RUnlock() error {
	if s := m.quickSlot(); s != nil {
		raceRelease()
		v := s.state.Load()
		if v&waiters == 0 && readers(v) != 0 && s.state.CompareAndSwap(v, v-oneReader) {
			return nil
		}
	}
	return m.runlock()
}

// runlock is RUnlock where something is not as usual.
func (m *RWMutex) runlock() error {
	s, err := m.slot()
	if err != nil {
		return err
	}
	raceRelease()
	return m.leave(s)
}

// leave counts a reader out, and wakes the writer that waits for the last one.
func (m *RWMutex) leave(s *readerSlot) error {
	for {
		v := s.state.Load()
		n := readers(v)
		if n == 0 {
			return notHeld("RWMutex.RUnlock")
		}
		if v&waiters != 0 && n == 1 {
			return m.leaveLast(s)
		}
		if s.state.CompareAndSwap(v, v-oneReader) {
			return nil
		}
	}
}

// leaveLast is leave where a writer may sleep on the count.
func (m *RWMutex) leaveLast(s *readerSlot) error {
	defer done(beginWake(addressOfState(&s.state)))
	p := pinTo(lowWord(&s.state))
	defer p.unpin()
	for {
		v := s.state.Load()
		next, last := v-oneReader, false
		switch n := readers(v); {
		case n == 0:
			return notHeld("RWMutex.RUnlock")
		case n == 1 && v&waiters != 0:
			next, last = noReaders(v), true
		}
		if s.state.CompareAndSwap(v, next) {
			if last {
				wakeAllSleepers(&s.state)
			}
			return nil
		}
	}
}
