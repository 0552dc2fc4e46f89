package futex

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// waitGate waits until the gate is open, or its writer is dead and dealt with.
func (m *RWMutex) waitGate(ctx context.Context) error {
	for look := backoffAt(addressOfState(&m.gate)); look.again(); {
		if m.gate.Load()&phase == 0 {
			look.hit()
			return nil
		}
	}
	defer done(beginWait(addressOfState(&m.gate)))
	w := lowWord(&m.gate)
	key := lineKey{addr: w}
	l, err := enterLine(ctx, key)
	if err != nil {
		return err
	}
	defer l.leave()
	p := pinTo(w)
	defer p.unpin()
	dying := 20 * time.Microsecond
	for look := false; ; {
		v := m.gate.Load()
		if v&phase == 0 {
			// Waiters is still there if the writer died before it woke us all.
			if v&waiters != 0 {
				wakeAllSleepers(&m.gate)
			}
			return nil
		}
		// The kernel has marked a dead writer, or nobody knows.
		if marked := m.writer.state.Load()&ownerDied != 0; marked || look {
			recovered, err := m.recoverWriter()
			if !recovered && marked && err == nil {
				err = sleepFor(ctx, dying) // it is not gone to its last thread
				dying = min(2*dying, time.Millisecond)
			}
			if err != nil {
				return err
			}
			if look = false; recovered || marked {
				continue
			}
		}
		if v&waiters == 0 {
			if !m.gate.CompareAndSwap(v, v|waiters) {
				continue
			}
			v |= waiters
		}
		if look, err = sleepSome(ctx, &m.gate, v); err != nil {
			return err
		}
	}
}

// lookAround is how often those that wait for other processes look whether one
// of these has died. It is shorter in tests.
var lookAround = 250 * time.Millisecond

// sleepSome sleeps on the low half of v for no longer than that. The caller has
// pinned the thread to the word and set waiters in v.
func sleepSome(ctx context.Context, state *atomic.Uint64, v uint64) (timedOut bool, err error) {
	return someSleep(ctx, lowWord(state), lowPart(v))
}

func someSleep(ctx context.Context, addr *atomic.Uint32, old uint32) (timedOut bool, err error) {
	var ts unix.Timespec
	err = wait(ctx, addr, old, matchAny, monotonicAfter(lookAround, &ts))
	if err == os.ErrDeadlineExceeded {
		return true, nil
	}
	return false, err
}

// recoverWriter takes the writers' lock from a dead owner, if there is one, puts
// the gate in order and gives the lock back. It says whether it did. It never
// takes a lock that is free: a reader's own death with it would look like that
// of a writer.
func (m *RWMutex) recoverWriter() (bool, error) {
	r := regionOf(addressOfState(&m.gate))
	ok, err := m.writer.takeFromDead(r)
	if !ok {
		return false, err
	}
	if err := m.recovered(err); err != nil {
		return false, err
	}
	return true, m.writer.Unlock()
}

// recovered deals with what a dead owner of the writers' lock has left, for one
// who got the lock with err. Of what this does, each step can be the last: the
// next one finds the lock with a dead owner again.
//
// SYNC rw-inside: a writer notes that it is inside before it is, and the note
// goes with the opening of the gate. An owner that died without it has changed
// nothing: it waited for readers, or had opened the gate again.
func (m *RWMutex) recovered(err error) error {
	if err != ErrOwnerDead {
		return err
	}
	if m.gate.Load()&inside != 0 {
		m.trouble.Store(inconsistent)
	}
	m.open()
	return m.writer.MarkConsistent()
}

// takeFromDead is TryLock for a lock whose owner is dead, and only for such.
func (m *RobustMutex) takeFromDead(r *Region) (bool, error) {
	v := m.state.Load()
	if free(v) || !r.fullyDead(owner(v)) {
		return false, nil
	}
	me, err := r.me(addressOfState(&m.state))
	if err != nil || !m.state.CompareAndSwap(v, me|v&waiters) {
		return false, err
	}
	err = m.acquired(r, true)
	return err == ErrOwnerDead, err
}

// close keeps new readers out; open lets them in and wakes those that wait.
// The writers' lock is held.
func (m *RWMutex) close() {
	for {
		v := m.gate.Load()
		if v&phase != 0 || m.gate.CompareAndSwap(v, v|phase) {
			return
		}
	}
}

func (m *RWMutex) open() {
	for {
		v := m.gate.Load()
		if v&waiters != 0 {
			m.openSlow()
			return
		}
		if v&(phase|inside) == 0 || m.gate.CompareAndSwap(v, v&^(phase|inside)) {
			return
		}
	}
}

func (m *RWMutex) openSlow() {
	defer done(beginWake(addressOfState(&m.gate)))
	p := pinTo(lowWord(&m.gate))
	defer p.unpin()
	for {
		v := m.gate.Load()
		if v&waiters != 0 {
			m.owed.Store(turnOwed)
		}
		if m.gate.CompareAndSwap(v, v&^(phase|inside)) {
			wakeAllSleepers(&m.gate)
			return
		}
	}
}

// Readers that slept at the gate are owed a turn when it opens: by the time they
// are awake, a writer who goes on and on would have closed it again. So the next
// writer waits, with the writers' lock and before it closes, until one of them
// is in; for a moment only, as they may be dead. Nothing but fairness hangs on it.
const (
	turnOwed    = 1
	turnAwaited = 2 // a writer sleeps on owed
	courtesy    = 5 * time.Millisecond
)

func (m *RWMutex) letReadersIn() {
	if m.owed.Load() == 0 {
		return
	}
	if m.owed.CompareAndSwap(turnOwed, turnAwaited) || m.owed.Load() == turnAwaited {
		defer done(beginWait(addressOfState(&m.gate)))
		var ts unix.Timespec
		wait(context.Background(), &m.owed, turnAwaited, matchAny, monotonicAfter(courtesy, &ts))
	}
	m.owed.Store(0)
}

// turnTaken notes that a reader which waited at the gate has come in, or was
// too late.
func (m *RWMutex) turnTaken() {
	if m.owed.Load() != 0 && m.owed.Swap(0) == turnAwaited {
		futexWake(&m.owed, 1, matchAny)
	}
}
