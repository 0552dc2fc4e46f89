package fuzz_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// semaphore is the plain part of package futex's semaphore, with the ways in
// which it can be got wrong. Each thread takes a token, by Acquire or by
// TryAcquire, and gives it back. A token that dies with its holder is lost by
// contract; here somebody outside gives a new one for it, so that who waits
// then waits wrongly.
type semaphore struct {
	processes, threads, crashes, tokens, rounds int

	late     fuzz.Late
	giveUps  int
	spurious bool

	// Mistakes.
	noPending        bool // Acquire sleeps without naming the word
	carrier          bool // the guardian's pending names it instead
	noReleasePending bool // Release does not name it between store and wake
	count            bool // the tokens stand where the kernel looks for an owner
	tidy             bool // B5: waiters is cleared by a CAS that wakes nobody
	dropWaiters      bool // Release clears waiters as it wakes one
	staleWaiters     bool // B6: Release judges by the waiters it saw before its change
	leaverClears     bool // B6: who gives up takes waiters along
	leaveWoken       bool // a cancelled waiter does not look whether it was woken
	noPhase          bool // sleepers compare waiters only
	noPassOn         bool // who leaves wakes nobody for the tokens that are left
}

// Shared cells: the state's parts. phase says only that there are no tokens.
const (
	smWaiters = iota // and the cell slept on
	smTokens
)

// Registers.
const (
	smPending = iota // this thread's list_op_pending names the word
	smHas            // it has a token
	smSawFree        // it saw no waiters
	smAwake          // it went to sleep, and is awake again
	smRounds
)

// Steps, named for the functions of futex/semaphore.go and sleepword.go.
const (
	smAcquire = iota
	smTake
	smSleep
	smPassOn
	smRelease
	smReleaseSlow
	smWake
	smWakeAll
)

var errTokens = errors.New("tokens were made or lost")

func (v semaphore) model() *fuzz.Model {
	return &fuzz.Model{
		Name:      fmt.Sprintf("semaphore %d×%d, %d tokens, %d crashes", v.processes, v.threads, v.tokens, v.crashes),
		Processes: v.processes, Threads: v.threads, Crashes: v.crashes,
		Cells:   []fuzz.Cell{smWaiters: {Name: "waiters"}, smTokens: {Name: "tokens", Init: byte(v.tokens)}},
		Private: []fuzz.Cell{{Name: "guardian's pending"}},
		Registers: []fuzz.Cell{
			smPending: {Name: "pending"}, smHas: {Name: "has a token"},
			smSawFree: {Name: "saw no waiters"}, smAwake: {Name: "awake"}, smRounds: {Name: "rounds"},
		},
		Steps: []fuzz.Step{
			smAcquire:     {Name: "Acquire or TryAcquire: CAS", Do: v.acquire},
			smTake:        {Name: "acquireSlow: CAS a token, or waiters", Do: v.take},
			smSleep:       {Name: "sleepOn: futex wait", Do: v.sleep, System: true},
			smPassOn:      {Name: "passOn: futex wake one", Do: v.passOn, System: true},
			smRelease:     {Name: "Release: CAS without waiters", Do: v.release},
			smReleaseSlow: {Name: "releaseSlow: CAS", Do: v.releaseSlow},
			smWake:        {Name: "wakeSleepers: futex wake one", Do: v.wake, System: true},
			smWakeAll:     {Name: "wakeAllSleepers: wake-op: clear waiters, wake all", Do: v.wakeAll, System: true},
		},
		Guardian: v.carrier, Exit: v.exit,
		Late: v.late, GiveUps: v.giveUps, Spurious: v.spurious,
		Invariant: v.conserved,
	}
}

func (v semaphore) takeToken(w *fuzz.World) bool {
	if w.Get(smTokens) == 0 {
		return false
	}
	w.Set(smTokens, w.Get(smTokens)-1)
	w.SetReg(smHas, 1)
	return true
}

func (v semaphore) giveToken(w *fuzz.World) {
	w.Set(smTokens, w.Get(smTokens)+1)
	w.SetReg(smHas, 0)
}

func (v semaphore) acquire(w *fuzz.World) {
	switch {
	case v.takeToken(w):
		w.Goto(smRelease)
	case w.Choose(2) == 1: // it was TryAcquire
		v.next(w)
	default:
		v.pin(w, !v.noPending && !v.carrier)
		if v.carrier {
			w.SetPrivate(0, 1)
		}
		w.Goto(smTake)
	}
}

func (v semaphore) pin(w *fuzz.World, on bool) {
	w.SetReg(smPending, 0)
	if on {
		w.SetReg(smPending, 1)
	}
}

func (v semaphore) take(w *fuzz.World) {
	w.SetReg(smAwake, 0)
	if v.takeToken(w) {
		w.Goto(smPassOn)
		return
	}
	w.Set(smWaiters, 1)
	w.Goto(smSleep)
}

func (v semaphore) sleep(w *fuzz.World) {
	slept := w.Reg(smAwake) != 0
	switch {
	case w.Wakeup() == fuzz.Cancelled, (!slept || v.leaveWoken) && w.GiveUp():
		if v.leaverClears {
			w.Set(smWaiters, 0)
		}
		w.Goto(smPassOn)
	case !slept && w.Get(smWaiters) == 1 && (w.Get(smTokens) == 0 || v.noPhase):
		w.SetReg(smAwake, 1)
		w.Sleep(smSleep, smWaiters)
		return
	default:
		w.Goto(smTake)
	}
	w.SetReg(smAwake, 0)
}

// passOn is the end of acquireSlow, also for who has given up.
func (v semaphore) passOn(w *fuzz.World) {
	if w.Get(smWaiters) != 0 && w.Get(smTokens) > 0 && !v.noPassOn {
		w.Wake(1, smWaiters)
	}
	v.pin(w, false)
	w.SetPrivate(0, 0)
	if w.Reg(smHas) == 0 {
		v.next(w)
		return
	}
	w.Goto(smRelease)
}

func (v semaphore) release(w *fuzz.World) {
	free := w.Get(smWaiters) == 0
	switch {
	case v.staleWaiters && w.Reg(smSawFree) == 0 && free:
		w.SetReg(smSawFree, 1) // and changes the state in its next step
	case free || w.Reg(smSawFree) != 0:
		w.SetReg(smSawFree, 0)
		v.giveToken(w)
		v.next(w)
	default:
		v.pin(w, !v.noReleasePending)
		w.Goto(smReleaseSlow)
	}
}

func (v semaphore) releaseSlow(w *fuzz.World) {
	v.giveToken(w)
	w.Goto(smWake)
	if w.Get(smWaiters) == 0 {
		v.leaveRelease(w)
	}
	if v.dropWaiters {
		w.Set(smWaiters, 0)
	}
}

func (v semaphore) wake(w *fuzz.World) {
	if w.Wake(1, smWaiters) == 0 && !v.dropWaiters {
		w.Goto(smWakeAll)
		return
	}
	v.leaveRelease(w)
}

func (v semaphore) wakeAll(w *fuzz.World) {
	w.Set(smWaiters, 0)
	if !v.tidy {
		w.Wake(255, smWaiters)
	}
	v.leaveRelease(w)
}

func (v semaphore) leaveRelease(w *fuzz.World) {
	v.pin(w, false)
	v.next(w)
}

func (v semaphore) next(w *fuzz.World) {
	if w.Reg(smRounds)+1 >= v.rounds {
		w.Finish()
		return
	}
	w.SetReg(smRounds, w.Reg(smRounds)+1)
	w.Goto(smAcquire)
}

// exit is the kernel's clean-up, then the new token from outside.
func (v semaphore) exit(w *fuzz.World) {
	pending := w.T == fuzz.GuardianThread && w.Private(0) != 0
	if w.T != fuzz.GuardianThread {
		pending = w.Reg(smPending) != 0
	}
	if pending && !(v.count && w.Get(smTokens) != 0) {
		w.Wake(1, smWaiters)
	}
	if w.T == fuzz.GuardianThread || w.Reg(smHas) == 0 {
		return
	}
	v.giveToken(w)
	if w.Get(smWaiters) != 0 && w.Wake(1, smWaiters) == 0 {
		w.Set(smWaiters, 0)
	}
}

func (v semaphore) conserved(w *fuzz.World) error {
	n := w.Get(smTokens)
	for p := range v.processes {
		for t := range v.threads {
			n += w.RegOf(p, t, smHas)
		}
	}
	if n != v.tokens {
		return errTokens
	}
	return nil
}

func TestSemaphoreModel(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    semaphore
		size int
	}{
		{"4x1,1 token,1", semaphore{processes: 4, threads: 1, tokens: 1, crashes: 1}, 0},
		{"4x1,2 tokens,2", semaphore{processes: 4, threads: 1, tokens: 2, crashes: 2}, 0},
		{"4x1,1 token,1,twice", semaphore{processes: 4, threads: 1, tokens: 1, crashes: 1, rounds: 2}, 0},
		{"4x1,1 token,1,giving up,spurious", semaphore{processes: 4, threads: 1, tokens: 1, crashes: 1, giveUps: 2, spurious: true}, 0},
		{"4x1,2 tokens,1,giving up,spurious,late", semaphore{processes: 4, threads: 1, tokens: 2, crashes: 1, giveUps: 1, spurious: true, late: late}, 0},
		{"2x2,1 token,2,late", semaphore{processes: 2, threads: 2, tokens: 1, crashes: 2, late: late}, 0},
		{"5x1,2 tokens,1", semaphore{processes: 5, threads: 1, tokens: 2, crashes: 1}, 0},
		{"6x1,2 tokens,0", semaphore{processes: 6, threads: 1, tokens: 2}, 1},
		{"4x1,2 tokens,2,twice,giving up,late", semaphore{processes: 4, threads: 1, tokens: 2, crashes: 2, rounds: 2, giveUps: 1, late: late}, 1},
		{"6x1,2 tokens,2,giving up,late", semaphore{processes: 6, threads: 1, tokens: 2, crashes: 2, giveUps: 1, late: late}, 2},
		{"4x2,2 tokens,2", semaphore{processes: 4, threads: 2, tokens: 2, crashes: 2}, 2},
	} {
		t.Run(row.name, func(t *testing.T) { holds(t, row.v.model(), row.size) })
	}
}

func TestSemaphoreMistakes(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    semaphore
	}{
		{"no pending while sleeping", semaphore{processes: 4, threads: 1, tokens: 1, crashes: 1, noPending: true}},
		{"pending on another thread", semaphore{processes: 4, threads: 1, tokens: 1, crashes: 1, carrier: true}},
		{"no pending at Release", semaphore{processes: 4, threads: 1, tokens: 1, crashes: 1, noReleasePending: true}},
		{"a count in the word that pending names", semaphore{processes: 4, threads: 1, tokens: 1, crashes: 1, count: true}},
		{"B5: waiters cleared without waking all", semaphore{processes: 5, threads: 1, tokens: 1, tidy: true}},
		{"Release clears waiters and wakes one", semaphore{processes: 4, threads: 1, tokens: 1, dropWaiters: true}},
		{"B6: Release by waiters seen before", semaphore{processes: 4, threads: 1, tokens: 1, staleWaiters: true}},
		{"B6: who gives up clears waiters", semaphore{processes: 4, threads: 1, tokens: 1, giveUps: 1, leaverClears: true}},
		{"B6: sleep on waiters, whatever the tokens", semaphore{processes: 4, threads: 1, tokens: 1, crashes: 1, noPhase: true}},
		{"cancelled and woken, and gone", semaphore{processes: 4, threads: 1, tokens: 1, giveUps: 1, leaveWoken: true, noPassOn: true}},
	} {
		t.Run(row.name, func(t *testing.T) { caught(t, row.v.model(), fuzz.ErrStuck) })
	}
}
