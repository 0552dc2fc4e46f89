package futex

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// waitGate waits until the gate is open, or its writer is dead and dealt with.
func (m *RWMutex) waitGate(ctx context.Context) error {
	for i := 0; i < mutexSpins && ManyCPUs(); i++ {
		if m.gate.Load()&phase == 0 {
			return nil
		}
		pause(1)
	}
	defer done(beginWait(addressOfState(&m.gate)))
	w := lowWord(&m.gate)
	key := lineKey{addr: w}
	l, err := enterLine(ctx, key)
	if err != nil {
		return err
	}
	defer leaveLine(key, l)
	p := pinTo(w)
	defer p.unpin()
	for {
		v := m.gate.Load()
		if v&phase == 0 {
			// Waiters is still there if the writer died before it woke us all.
			if v&waiters != 0 {
				wakeAllSleepers(&m.gate)
			}
			return nil
		}
		if v&waiters == 0 {
			if !m.gate.CompareAndSwap(v, v|waiters) {
				continue
			}
			v |= waiters
		}
		timedOut, err := sleepSome(ctx, &m.gate, v)
		if err != nil {
			return err
		}
		if timedOut {
			if _, err := m.recoverWriter(); err != nil {
				return err
			}
		}
	}
}

// sleepSome is sleepOn for as long as a recheck.
func sleepSome(ctx context.Context, state *atomic.Uint64, v uint64) (timedOut bool, err error) {
	var ts unix.Timespec
	err = wait(ctx, lowWord(state), lowPart(v), matchAny, monotonic(time.Now().Add(recheck), &ts))
	if err == os.ErrDeadlineExceeded {
		return true, nil
	}
	return false, err
}

// recoverWriter opens a gate that a dead writer has left closed, and notes the
// death. It says whether it did.
func (m *RWMutex) recoverWriter() (bool, error) {
	ok, err := m.writer.TryLock()
	switch {
	case ok && err == nil:
		// Nobody has the writer's lock: who closed the gate is about to open it.
		return false, m.writer.Unlock()
	case !ok:
		return false, err
	}
	m.trouble.Store(inconsistent)
	m.open()
	return true, errors.Join(m.writer.MarkConsistent(), m.writer.Unlock())
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
		if v&phase == 0 || m.gate.CompareAndSwap(v, v&^phase) {
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
		if m.gate.CompareAndSwap(v, v&^phase) {
			wakeAllSleepers(&m.gate)
			return
		}
	}
}
