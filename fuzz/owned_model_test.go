package fuzz_test

import (
	"fmt"

	"github.com/rawipc/rawipc/fuzz"
)

// owned is the semaphore of package futex with owned tokens, which come back
// when their process dies. Each process takes a token, owned or plain, and
// gives it back. The lock under which owned tokens change is taken as proven:
// one step, which waits for a dead holder to be gone to its last thread.
type owned struct {
	processes, crashes, tokens int

	plain, taken int // how many at most take plain tokens, and owned ones; 0: any number
	late         fuzz.Late
	giveUps      int

	// Mistakes.
	trustNote    bool // B14: finish takes any note for a change that was made
	staleFlip    bool // B14: the note's bit was read before the lock was taken
	noNote       bool // nothing is noted
	countsOnly   bool // waiters watch only while a count says that tokens are owned
	oneWord      bool // who doesn't watch sleeps on the state only
	watchQuietly bool // watched is set, and nobody woken
}

// Shared cells, then one slot for each process: id and count.
const (
	owWaiters = iota // and the cell slept on
	owWatched        // slept on too, by who doesn't watch
	owTokens
	owFlip
	owMu
	owNoted
	owSlot // the note: slot, its new count, flip before
	owCount
	owFlipWas
	owRoles // processes that chose, by kind: plain + 16 × owned
	owSlots
)

// Registers.
const (
	owIsOwned = iota // AcquireOwned
	owPinned         // in the slow path, or beyond the lock in ReleaseOwned
	owPending        // list_op_pending names the word
	owHas            // a plain token
	owWhy            // what the lock is held for: owTake, owGive, owReclaim
	owAt             // the slot that is being changed
	owNew            // its new count
	owD              // tokens to add; 0: take one
	owDone           // the change was made
	owSawFlip
	owBounded
	owAwake
)

const (
	owTake = iota
	owGive
	owReclaim
)

// Steps, named for the functions of futex/owned.go and semaphore.go.
const (
	owStart = iota
	owWatchStore
	owWatchWake
	owWatchDone
	owTakeFirst
	owLoop
	owTryLock
	owWakeBefore
	owLock
	owFinish
	owFinished
	owFind
	owNote
	owCAS
	owSetCount
	owUnnote
	owWake
	owWakeAll
	owUnlock
	owWatching
	owSleep
	owPassOn
	owHold
	owRelease
)

func (v owned) model() *fuzz.Model {
	m := &fuzz.Model{
		Name:      fmt.Sprintf("owned tokens, %d processes, %d tokens, %d crashes", v.processes, v.tokens, v.crashes),
		Processes: v.processes, Threads: 1, Crashes: v.crashes,
		Cells: []fuzz.Cell{
			owWaiters: {Name: "waiters"}, owTokens: {Name: "tokens", Init: byte(v.tokens)}, owFlip: {Name: "flip"},
			owMu: {Name: "mu", Kind: fuzz.ProcessID}, owNoted: {Name: "noted"}, owSlot: {Name: "note's slot"},
			owCount: {Name: "note's count"}, owFlipWas: {Name: "note's flip"}, owWatched: {Name: "watched"}, owRoles: {Name: "roles"},
		},
		Registers: []fuzz.Cell{
			owIsOwned: {Name: "owned"}, owPinned: {Name: "pinned"}, owPending: {Name: "pending"},
			owHas: {Name: "has a token"}, owWhy: {Name: "why"}, owAt: {Name: "slot"}, owNew: {Name: "new count"},
			owD: {Name: "d"}, owDone: {Name: "done"}, owSawFlip: {Name: "saw flip"},
			owBounded: {Name: "bounded"}, owAwake: {Name: "awake"},
		},
		Steps: []fuzz.Step{
			owStart:      {Name: "Acquire or AcquireOwned", Do: v.start},
			owWatchStore: {Name: "watch: watched = 1", Do: v.watchStore},
			owWatchWake:  {Name: "watch: futex wake all", Do: v.watchWake, System: true},
			owWatchDone:  {Name: "watch: watched = 2", Do: v.watchDone},
			owTakeFirst:  {Name: "AcquireOwned: look", Do: v.takeFirst},
			owLoop:       {Name: "acquireSlow: look, or CAS waiters", Do: v.loop},
			owTryLock:    {Name: "lockOwned: TryLock", Do: v.tryLock},
			owWakeBefore: {Name: "lockOwned: futex wake one", Do: v.wakeBefore, System: true},
			owLock:       {Name: "lockOwned: LockContext", Do: v.lock},
			owFinish:     {Name: "finish: count", Do: v.finish},
			owFinished:   {Name: "finish: noted = 0", Do: v.finished},
			owFind:       {Name: "slotFor or reclaim: find a slot", Do: v.find},
			owNote:       {Name: "change: note", Do: v.note},
			owCAS:        {Name: "change: CAS", Do: v.cas},
			owSetCount:   {Name: "change: count", Do: v.setCount},
			owUnnote:     {Name: "change: noted = 0", Do: v.unnote},
			owWake:       {Name: "wakeSleepers: futex wake", Do: v.wake, System: true},
			owWakeAll:    {Name: "wakeAllSleepers: wake-op: clear waiters, wake all", Do: v.wakeAll, System: true},
			owUnlock:     {Name: "Unlock", Do: v.unlock},
			owWatching:   {Name: "sleep: watched?", Do: v.watching},
			owSleep:      {Name: "sleep: futex wait", Do: v.sleep, System: true},
			owPassOn:     {Name: "passOn: futex wake one", Do: v.passOn, System: true},
			owHold:       {Name: "Release or ReleaseOwned", Do: v.hold},
			owRelease:    {Name: "releaseSlow: CAS", Do: v.release},
		},
		Exit: v.exit, Late: v.late, GiveUps: v.giveUps,
		Final: v.conserved,
	}
	for range v.processes {
		m.Cells = append(m.Cells, fuzz.Cell{Name: "id", Kind: fuzz.ProcessID}, fuzz.Cell{Name: "count"})
	}
	return m
}

func slotID(i int) int    { return owSlots + 2*i }
func slotCount(i int) int { return owSlots + 2*i + 1 }

func (v owned) start(w *fuzz.World) {
	roles := w.Get(owRoles)
	kind := w.Choose(2)
	switch {
	case v.plain > 0 && roles&15 == v.plain:
		kind = 1
	case v.taken > 0 && roles>>4 == v.taken:
		kind = 0
	}
	if v.plain > 0 || v.taken > 0 {
		w.Set(owRoles, roles+[]int{1, 16}[kind])
	}
	w.SetReg(owIsOwned, kind)
	switch {
	case kind == 1 && w.Get(owWatched) != 2 && !v.countsOnly:
		w.Goto(owWatchStore)
	case kind == 1:
		v.takeFirst(w)
	case w.Get(owTokens) == 0:
		v.pin(w)
		w.Goto(owLoop)
	default:
		v.takePlain(w)
		w.Goto(owHold)
	}
}

func (v owned) watchStore(w *fuzz.World) {
	w.Set(owWatched, max(w.Get(owWatched), 1))
	w.Goto(owWatchWake)
	if v.watchQuietly {
		w.Goto(owWatchDone)
	}
}

func (v owned) watchWake(w *fuzz.World) {
	w.Wake(255, owWatched)
	w.Goto(owWatchDone)
}

func (v owned) watchDone(w *fuzz.World) {
	w.Set(owWatched, 2)
	w.Goto(owTakeFirst)
}

func (v owned) takeFirst(w *fuzz.World) {
	if w.Get(owTokens) == 0 {
		v.pin(w)
		w.Goto(owLoop)
		return
	}
	w.SetReg(owSawFlip, w.Get(owFlip))
	w.Goto(owTryLock)
}

func (v owned) pin(w *fuzz.World) { w.SetReg(owPinned, 1); w.SetReg(owPending, 1) }

func (v owned) unpin(w *fuzz.World) { w.SetReg(owPinned, 0); w.SetReg(owPending, 0) }

func (v owned) takePlain(w *fuzz.World) {
	w.Set(owTokens, w.Get(owTokens)-1)
	w.SetReg(owHas, 1)
}

func (v owned) loop(w *fuzz.World) {
	w.SetReg(owWhy, owTake)
	switch {
	case w.Get(owTokens) == 0:
		w.Set(owWaiters, 1)
		w.Goto(owWatching)
	case w.Reg(owIsOwned) == 1:
		w.SetReg(owSawFlip, w.Get(owFlip))
		w.Goto(owTryLock)
	default:
		v.takePlain(w)
		w.Goto(owPassOn)
	}
}

func (v owned) watching(w *fuzz.World) {
	w.SetReg(owBounded, 0)
	if v.countsOnly && v.counts(w) || !v.countsOnly && w.Get(owWatched) != 0 {
		w.SetReg(owBounded, 1)
	}
	w.Goto(owSleep)
}

func (v owned) counts(w *fuzz.World) bool {
	for i := range v.processes {
		if w.Get(slotCount(i)) > 0 {
			return true
		}
	}
	return false
}

func (v owned) sleep(w *fuzz.World) {
	slept := w.Reg(owAwake) != 0
	w.SetReg(owAwake, 0)
	switch {
	case w.Wakeup() == fuzz.Cancelled, !slept && w.GiveUp():
		w.Goto(owPassOn)
	case w.Wakeup() == fuzz.TimedOut:
		w.SetReg(owWhy, owReclaim)
		w.Goto(owTryLock)
	case slept || w.Get(owWaiters) == 0 || w.Get(owTokens) != 0:
		w.Goto(owLoop)
	default:
		switch {
		case w.Reg(owBounded) == 1:
			w.SleepBounded(owSleep, owWaiters)
		case w.Get(owWatched) != 0 && !v.oneWord:
			w.Goto(owLoop)
			return
		default:
			w.Sleep(owSleep, owWaiters, owWatched)
		}
		w.SetReg(owAwake, 1)
	}
}

func (v owned) passOn(w *fuzz.World) {
	if w.Get(owWaiters) != 0 && w.Get(owTokens) > 0 {
		w.Wake(1, owWaiters)
	}
	v.unpin(w)
	if w.Reg(owHas) == 0 && w.Reg(owDone) == 0 {
		w.Finish()
		return
	}
	w.SetReg(owDone, 0)
	w.Goto(owHold)
}
