package futex

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// SetRechecks sets how often a waiter looks for a dead owner of a lock and of
// tokens, in a process that has no waiters yet.
func SetRechecks(lock, tokens time.Duration) { recheck, reclaimEvery = lock, tokens }

// LockUnnamed is broken: it sleeps without naming the word, so that a wake dies
// with the thread that got it.
func (m *RobustMutex) LockUnnamed() error {
	addr := addressOfState(&m.state)
	r := regionOf(addr)
	me, err := r.me(addr)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	died, err := m.lockPinned(context.Background(), r, me, lowWord(&m.state))
	if err != nil {
		return err
	}
	return m.acquired(r, died)
}

// UnlockTwoSteps is broken: between its store and its wake one can die.
func (m *RobustMutex) UnlockTwoSteps() error {
	v := m.state.Load()
	for !m.state.CompareAndSwap(v, v&waiters) {
		v = m.state.Load()
	}
	if v&waiters != 0 {
		futexWake(lowWord(&m.state), 1, matchAny)
	}
	return nil
}

// SetLate is broken: those whom it wakes may be asleep again when it sets.
func (e *Event) SetLate() {
	futexWake(&e.state, maxInt32, matchAny)
	e.state.Or(eventSet)
}

// A JudgeFunc says that processes are gone to their last thread.
type JudgeFunc func() bool

func (f JudgeFunc) dead(uint32) bool { return f() }
func (f JudgeFunc) close()           {}

// JudgeBy makes f the judge of the region that m lies in, for a time in which
// nobody uses the region.
func (m *RobustMutex) JudgeBy(f JudgeFunc) (undo func()) {
	r := regionOf(addressOfState(&m.state))
	old := r.judge
	r.judge = f
	return func() { r.judge = old }
}

// ForgetHeads has all threads ask for their robust lists again: one of them is
// about to get another.
func ForgetHeads() {
	for i := range knownHeads {
		knownHeads[i].Store(nil)
	}
}

// Heads is how many heads there are of threads that had none.
func Heads() int {
	givenHeads.Lock()
	defer givenHeads.Unlock()
	return len(givenHeads.all)
}

// Told reports whether the kernel knows what threads sleep on.
func Told() bool {
	var word atomic.Uint32
	p := pinTo(&word)
	defer p.unpin()
	return p.told()
}

var reallyWakes = wakesForTheDead

// TellKernel says whether threads tell it, in a process in which nobody waits yet.
func TellKernel(ok bool) { wakesForTheDead = ok && reallyWakes }

// Since is for its test.
var Since = since

// Named names addr as a waiter does, and reports whether the kernel knows.
func Named(addr *atomic.Uint32) bool {
	p := pinTo(addr)
	defer p.unpin()
	h, _ := ownHead()
	return h != nil && h.pending.Load() == addressOfWord(addr)-uintptr(h.offset)
}
