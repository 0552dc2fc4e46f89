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
// 4 bytes and works in any shared memory; memory that is not declared with
// [Attach] must stay mapped until the calls on it have returned. Its methods may be
// called concurrently. In the terminology of the Go memory model, Set synchronizes
// before the return of each Wait that it ends.
type Event struct {
	_ structs.HostLayout
	_ noCopy
	// state is, from the low end: set; 30 bits turn, the number of resets;
	// waiters.
	state atomic.Uint32
}

// SYNC event: a waiter sets waiters, then sleeps on exactly the word it saw, in
// which the event is not set; Set sets and wakes in one system call once
// waiters is there. Either the kernel sees the set bit, or a later turn, and
// does not let the waiter sleep, or the call finds it asleep. So nobody has a
// wake to pass on, nothing needs to be named in list_op_pending, and the word
// may hold a count. While the event is set nobody sleeps: Reset clears waiters.
const (
	eventSet   = 1 << 0
	eventTurn  = 1 << 1
	eventTurns = waiters - eventTurn // the turn's bits
)

// setEvent sets the event. Its comparison (old value equal to 0) does no harm.
var setEvent = Op{Do: OpOr, Arg: eventSet, Cmp: CmpEqual}.encode()

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
	for v := e.state.Load(); v&eventSet == 0; v = e.state.Load() {
		if v&waiters != 0 {
			futexWakeOp(&e.state, maxInt32, &e.state, 1, setEvent)
			return
		}
		if e.state.CompareAndSwap(v, v|eventSet) {
			return
		}
	}
}

// Reset makes the event not set. Who waits goes on waiting. It never blocks.
func (e *Event) Reset() {
	for {
		v := e.state.Load()
		if v&eventSet == 0 || e.state.CompareAndSwap(v, (v+eventTurn)&eventTurns) {
			return
		}
	}
}

// Wait waits until the event is set, or was set since the call, or ctx ends;
// then it returns ctx.Err(). A set event is seen even if ctx has ended.
func (e *Event) Wait(ctx context.Context) error {
	first := e.state.Load()
	if first&eventSet != 0 {
		raceAcquire()
		return nil
	}
	err := e.waitSlow(ctx, first)
	if err == nil {
		raceAcquire()
	}
	return err
}

func (e *Event) waitSlow(ctx context.Context, first uint32) error {
	mustHave(ctx)
	defer done(beginWait(addressOfWord(&e.state)))
	key := lineKey{&e.state, uint64(first & eventTurns)}
	l, err := enterLine(ctx, key)
	if err == nil {
		defer l.leave()
	}
	for yielded := false; ; {
		v := e.state.Load()
		// It is set, or has been since it was in its first state.
		if v&eventSet != 0 || (v^first)&eventTurns != 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if !yielded {
			yielded = true
			if yielderOf(addressOfWord(&e.state)).yield(func() bool { return e.state.Load() != v }) {
				continue
			}
		}
		if v&waiters == 0 && !e.state.CompareAndSwap(v, v|waiters) {
			continue
		}
		err = wait(ctx, &e.state, v|waiters, matchAny, nil)
	}
}
