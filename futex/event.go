package futex

import (
	"context"
	"structs"
	"sync/atomic"
)

// An Event is a flag between processes that one can wait for: Python's Event.
// The zero value is not set.
//
// A party that has died is not counted: waiters leave by their context. A
// process killed in the middle of Set has set nothing or woken everybody. It is
// 8 bytes, aligned to 8, and works in any shared memory; memory that is not
// declared with [Attach] must stay mapped until the calls on it have returned.
// In the terminology of the Go memory model, Set synchronizes before the return of each Wait that it
// ends.
type Event struct {
	_ structs.HostLayout
	_ noCopy
	// state: the low half as in sleepword.go; bit 32 set; above it the number
	// of times that Set has set, whose lowest bit is phase.
	state atomic.Uint64
}

const (
	eventSet  = 1 << 32
	eventTurn = 1 << 33
)

// IsSet reports whether the event is set. It never blocks.
func (e *Event) IsSet() bool {
	if e.state.Load()&eventSet == 0 {
		return false
	}
	raceAcquire()
	return true
}

// Set sets the event and wakes all that wait for it, in all processes, also
// those that a Reset right after it would leave behind. It never blocks.
func (e *Event) Set() {
	raceRelease()
	for v := e.state.Load(); v&waiters == 0; v = e.state.Load() {
		if v&eventSet != 0 || e.state.CompareAndSwap(v, nextTurn(v)) {
			return
		}
	}
	e.setSlow()
}

func (e *Event) setSlow() {
	// Changed but not yet woken: if this thread dies there, the kernel wakes
	// one, and that one wakes the others (see Wait).
	defer done(beginWake(addressOfState(&e.state)))
	p := pinTo(lowWord(&e.state))
	defer p.unpin()
	for {
		v := e.state.Load()
		if v&eventSet == 0 && !e.state.CompareAndSwap(v, nextTurn(v)) {
			continue
		}
		if v&waiters != 0 {
			wakeAllSleepers(&e.state)
		}
		return
	}
}

// nextTurn is v set, with a new turn and the other phase.
func nextTurn(v uint64) uint64 { return (v + eventTurn | eventSet) ^ phase }

// Reset makes the event not set. Who waits goes on waiting. It never blocks.
func (e *Event) Reset() {
	for {
		v := e.state.Load()
		if v&eventSet == 0 || e.state.CompareAndSwap(v, v&^eventSet) {
			return
		}
	}
}

// Wait waits until the event is set, or was set since the call, or ctx ends;
// then it returns ctx.Err(). A set event is seen even if ctx has ended.
func (e *Event) Wait(ctx context.Context) error {
	if e.IsSet() {
		return nil
	}
	return e.waitSlow(ctx)
}

func (e *Event) waitSlow(ctx context.Context) error {
	defer done(beginWait(addressOfState(&e.state)))
	first := e.state.Load()
	w := lowWord(&e.state)
	key := lineKey{w, first / eventTurn}
	l, err := enterLine(ctx, key)
	if err != nil && !e.passed(first) {
		return err
	}
	if err != nil {
		return nil
	}
	defer leaveLine(key, l)
	p := pinTo(w)
	defer p.unpin()
	for {
		v := e.state.Load()
		if e.passed(first) {
			// Waiters is still there if whoever set the event died before it
			// woke us all: then that is ours to do.
			if v&waiters != 0 {
				wakeAllSleepers(&e.state)
			}
			raceAcquire()
			return nil
		}
		if v&waiters == 0 {
			if !e.state.CompareAndSwap(v, v|waiters) {
				continue
			}
			v |= waiters
		}
		if err := sleepOn(ctx, &e.state, v); err != nil {
			if e.passed(first) {
				continue
			}
			return err
		}
	}
}

// passed reports whether the event is set or has been since it was in state v.
func (e *Event) passed(v uint64) bool {
	now := e.state.Load()
	return now&eventSet != 0 || now/eventTurn != v/eventTurn
}
