package fuzz_test

import (
	"errors"
	"fmt"

	"github.com/rawipc/rawipc/fuzz"
)

// robustMutex is the robust mutex of package futex, with the ways in which it can
// be got wrong. The word's owner is the guardian's thread, so it is a
// ProcessID here, and hi is the upper half that outlives OWNER_DIED.
type robustMutex struct {
	processes, threads, crashes, rounds int

	late     fuzz.Late
	timer    bool // sleeps are bounded, and their end makes the waiter look at the owner
	giveUps  int
	falseOD  bool // one false OWNER_DIED (another PID namespace)
	split    bool // unlock by a store, then a wake
	spurious bool

	// Mistakes.
	noPending       bool // a waiter sleeps without naming the word in its list_op_pending
	noUnlockPending bool // with split: nor does the unlocker
	dropAtUnlock    bool // unlock clears WAITERS and wakes one
	dropAtRecovery  bool // taking a dead owner's lock forgets WAITERS
	tidy            bool // WAITERS is cleared without waking all
	acquireEarly    bool // OWNER_DIED alone allows to acquire
	acquireThenWait bool // full death is awaited with the lock held
	noProbe         bool // nobody looks whether the owner is gone
	guardianUnlock  bool // with split: the guardian's pending covers the unlock
	carrier         bool // the guardian's pending covers a sleeper
	strictUnlock    bool // unlock refuses after a false OWNER_DIED
}

// Shared cells: the word's two parts, its upper half, and the data.
const (
	rmBits = iota
	rmOwner
	rmHi
	rmDirty
)

// Registers.
const (
	rmSawOwner = iota // of the word as last loaded
	rmSawBits
	rmProbe
	rmPending // this thread's list_op_pending names the word
	rmDied    // Lock will return ErrOwnerDead
	rmRounds
	rmBefore // acquireThenWait: who held it before
)

// Steps.
const (
	rmFast = iota
	rmLook
	rmWait
	rmAwait
	rmLeaveSlow
	rmEnter
	rmUnlock
	rmWakeOp
	rmWake
	rmClear
	rmLeaveUnlock
)

func (v robustMutex) word() fuzz.RobustWord { return fuzz.RobustWord{Bits: rmBits, Owner: rmOwner} }

func (v robustMutex) model() *fuzz.Model {
	m := &fuzz.Model{
		Name:      fmt.Sprintf("robust mutex %d×%d, %d crashes", v.processes, v.threads, v.crashes),
		Processes: v.processes, Threads: v.threads, Crashes: v.crashes,
		Cells: []fuzz.Cell{
			rmBits: {Name: "bits"}, rmOwner: {Name: "owner", Kind: fuzz.ProcessID},
			rmHi: {Name: "hi", Kind: fuzz.ProcessID}, rmDirty: {Name: "dirty"},
		},
		Private: []fuzz.Cell{{Name: "guardian's pending"}},
		Registers: []fuzz.Cell{
			rmSawOwner: {Name: "saw owner", Kind: fuzz.ProcessID}, rmSawBits: {Name: "saw bits"},
			rmProbe: {Name: "probe"}, rmPending: {Name: "pending"}, rmDied: {Name: "died"},
			rmRounds: {Name: "rounds"}, rmBefore: {Name: "before", Kind: fuzz.ProcessID},
		},
		Steps: []fuzz.Step{
			rmFast:        {Name: "lock: CAS free to mine", Do: v.fast},
			rmLook:        {Name: "look at the word", Do: v.look},
			rmWait:        {Name: "futex wait", Do: v.wait, System: true},
			rmAwait:       {Name: "await the old owner's full death", Do: v.await},
			rmLeaveSlow:   {Name: "clear pending", Do: v.leaveSlow},
			rmEnter:       {Name: "start writing the data", Do: v.enter, System: true},
			rmUnlock:      {Name: "end writing the data, unlock", Do: v.unlock},
			rmWakeOp:      {Name: "wake-op: word := WAITERS, wake one", Do: v.wakeOp, System: true},
			rmWake:        {Name: "futex wake one", Do: v.wake, System: true},
			rmClear:       {Name: "wake-op: clear WAITERS, wake all", Do: v.clear, System: true},
			rmLeaveUnlock: {Name: "clear pending after unlock", Do: v.leaveUnlock},
		},
		Guardian: true, Exit: v.exit,
		Late: v.late, Timer: v.timer, GiveUps: v.giveUps, Spurious: v.spurious,
		Invariant: v.invariant,
	}
	if v.falseOD {
		m.MaxFaults = 1
		m.Faults = []fuzz.Step{{Name: "another namespace marks the live owner dead", Do: func(w *fuzz.World) {
			if owner := w.Get(rmOwner); owner != 0 && !w.Dying(owner) {
				w.OwnerDied(v.word(), owner, false)
			}
		}}}
	}
	return m
}

func (v robustMutex) fast(w *fuzz.World) {
	if w.Get(rmOwner) == 0 && w.Get(rmBits)&fuzz.WordOwnerDied == 0 {
		v.take(w, false)
		w.Goto(rmEnter)
		return
	}
	// Naming the word in pending is a step of its own, but one that nobody can
	// tell from the failed CAS before it.
	switch {
	case v.carrier:
		w.SetPrivate(0, 1)
	case !v.noPending:
		w.SetReg(rmPending, 1)
	}
	w.SetReg(rmProbe, 1)
	w.Goto(rmLook)
}

// take is the acquiring CAS of both halves.
func (v robustMutex) take(w *fuzz.World, died bool) {
	bits := w.Get(rmBits) & fuzz.WordWaiters
	if died && v.dropAtRecovery {
		bits = 0
	}
	w.Set(rmBits, bits)
	w.Set(rmOwner, w.Process())
	w.Set(rmHi, w.Process())
	w.SetReg(rmDied, 0)
	if died {
		w.SetReg(rmDied, 1)
	} else if w.Get(rmDirty) != 0 {
		w.Fail("data that a dead owner left half written was acquired as clean")
	}
}

// gone is the liveness lock's word on who stands in hi.
func (v robustMutex) gone(w *fuzz.World) bool { return w.FullyDead(w.Get(rmHi)) }

func (v robustMutex) look(w *fuzz.World) {
	bits, owner, hi := w.Get(rmBits), w.Get(rmOwner), w.Get(rmHi)
	died := bits&fuzz.WordOwnerDied != 0
	switch {
	case owner == 0 && died && !v.acquireEarly && !v.acquireThenWait && !v.gone(w):
		return // it sleeps a little and looks again
	case owner == 0, !v.noProbe && w.Reg(rmProbe) != 0 && v.gone(w):
		v.take(w, died || owner != 0)
		w.SetReg(rmProbe, 0)
		w.Goto(rmLeaveSlow)
		if v.acquireThenWait && died {
			w.SetReg(rmBefore, hi)
			w.Goto(rmAwait)
		}
		return
	}
	w.Set(rmBits, bits|fuzz.WordWaiters)
	w.SetReg(rmSawBits, bits|fuzz.WordWaiters)
	w.SetReg(rmSawOwner, owner)
	w.SetReg(rmProbe, 0)
	w.Goto(rmWait)
}

func (v robustMutex) wait(w *fuzz.World) {
	switch {
	case w.Wakeup() == fuzz.Cancelled: // only ever after it slept: see Sleep below
		if v.carrier {
			w.SetPrivate(0, 0)
		}
		w.Finish()
		return
	case w.Wakeup() == fuzz.TimedOut:
		w.SetReg(rmProbe, 1)
		w.Goto(rmLook)
	case w.Reg(rmSawBits) == 0: // awake again
		w.Goto(rmLook)
	case w.Get(rmBits) == w.Reg(rmSawBits) && w.Get(rmOwner) == w.Reg(rmSawOwner):
		w.Sleep(rmWait, rmBits)
	default:
		w.Goto(rmLook)
	}
	w.SetReg(rmSawBits, 0)
	w.SetReg(rmSawOwner, 0)
}

func (v robustMutex) await(w *fuzz.World) {
	if w.FullyDead(w.Reg(rmBefore)) {
		w.SetReg(rmBefore, 0)
		w.Goto(rmLeaveSlow)
	}
}

func (v robustMutex) leaveSlow(w *fuzz.World) {
	w.SetReg(rmPending, 0)
	if v.carrier {
		w.SetPrivate(0, 0)
	}
	w.Goto(rmEnter)
}

func (v robustMutex) enter(w *fuzz.World) {
	w.Set(rmDirty, 1)
	w.SetReg(rmDied, 0)
	w.Goto(rmUnlock)
}

func (v robustMutex) unlock(w *fuzz.World) {
	bits, owner, hi, me := w.Get(rmBits), w.Get(rmOwner), w.Get(rmHi), w.Process()
	mine := owner == me && hi == me
	w.Set(rmDirty, 0)
	marked := hi == me && owner == 0 && bits&fuzz.WordOwnerDied != 0
	switch {
	case v.split && (mine || marked):
		if !v.noUnlockPending && !v.guardianUnlock && w.Reg(rmPending) == 0 {
			w.SetReg(rmPending, 1)
			return // and unlocks in its next step
		}
		if v.guardianUnlock && w.Reg(rmPending) == 0 {
			w.SetReg(rmPending, 2) // not this thread's: the guardian's
			w.SetPrivate(0, 1)
			return
		}
		w.Set(rmOwner, 0)
		w.Set(rmBits, bits&fuzz.WordWaiters)
		w.Goto(rmLeaveUnlock)
		if bits&fuzz.WordWaiters != 0 {
			w.Goto(rmWake)
		}
	case mine && bits == 0:
		w.Set(rmOwner, 0)
		w.Set(rmHi, 0)
		v.next(w)
	case mine, marked && !v.strictUnlock:
		w.Goto(rmWakeOp)
	default:
		v.next(w) // ErrNotOwner
	}
}

func (v robustMutex) wakeOp(w *fuzz.World) {
	w.Set(rmOwner, 0)
	w.Set(rmBits, fuzz.WordWaiters)
	if v.dropAtUnlock {
		w.Set(rmBits, 0)
	}
	if w.Wake(1, rmBits) == 0 {
		w.Goto(rmClear)
		return
	}
	v.next(w)
}

func (v robustMutex) wake(w *fuzz.World) {
	w.Goto(rmLeaveUnlock)
	if w.Wake(1, rmBits) == 0 {
		w.Goto(rmClear)
	}
}

func (v robustMutex) clear(w *fuzz.World) {
	if v.split {
		w.Goto(rmLeaveUnlock)
	} else {
		defer v.next(w)
	}
	if v.tidy {
		if w.Get(rmBits) == fuzz.WordWaiters && w.Get(rmOwner) == 0 {
			w.Set(rmBits, 0)
		}
		return
	}
	w.Set(rmBits, w.Get(rmBits)&^fuzz.WordWaiters)
	w.Wake(255, rmBits)
}

func (v robustMutex) leaveUnlock(w *fuzz.World) {
	if w.Reg(rmPending) == 2 {
		w.SetPrivate(0, 0)
	}
	w.SetReg(rmPending, 0)
	v.next(w)
}

func (v robustMutex) next(w *fuzz.World) {
	if w.Reg(rmRounds)+1 >= v.rounds {
		w.Finish()
		return
	}
	w.SetReg(rmRounds, w.Reg(rmRounds)+1)
	w.Goto(rmFast)
}

func (v robustMutex) exit(w *fuzz.World) {
	if w.T != fuzz.GuardianThread {
		w.OwnerDied(v.word(), 0, w.Reg(rmPending) == 1)
		return
	}
	// The kernel walks the list before it looks at pending.
	w.OwnerDied(v.word(), w.Process(), false)
	if w.Private(0) != 0 {
		w.OwnerDied(v.word(), w.Process(), true)
	}
}

var (
	errTwoHold = errors.New("two threads that can still write hold the lock")
	errLost    = errors.New("a live owner has lost its lock")
)

func (v robustMutex) invariant(w *fuzz.World) error {
	holders := 0
	for p := range v.processes {
		for t := range v.threads {
			switch at := w.At(p, t); at {
			case rmLeaveSlow, rmEnter, rmUnlock:
				holders++
				if !w.Dying(p+1) && w.Get(rmHi) != p+1 {
					return errLost
				}
			}
		}
	}
	if holders > 1 {
		return errTwoHold
	}
	return nil
}
