package fuzz_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// event is the event of package futex, with the ways in which it can be got
// wrong. The first processes to move are setters, each with one Set and perhaps
// a Reset after it; the others wait. Who comes when no Set is left to come
// leaves by its context as soon as it would sleep.
type event struct {
	processes, setters, crashes int

	late     fuzz.Late
	giveUps  int
	spurious bool

	// Mistakes.
	split     bool // Set is a store, then a wake, and nothing covers the gap
	wakeOne   bool // Set wakes one of the sleepers
	oneBit    bool // sleepers compare one bit of the turn
	noTurn    bool // Reset leaves no trace
	noCompare bool // the kernel is not told what the waiter saw
	lateFirst bool // the turn is read after the look at set
}

// Shared cells: the word's parts, then what only the model knows.
const (
	evWaiters = iota // and the cell slept on
	evSet
	evTurn
	evPicked // processes that have a part
	evToCome // calls of Set that have not had their effect
)

// Registers.
const (
	evFirst  = iota // the turn when Wait was called
	evSaw           // the turn when it last looked
	evLeaves        // no Set was left to come
	evAsleep        // it went to sleep, and is awake again
	evOwes          // a setter whose Set has had no effect yet
)

// Steps, named for the functions of futex/event.go.
const (
	evPick = iota
	evSetCall
	evSetWakeOp
	evSetWake
	evReset
	evWait
	evWaitFirst
	evWaitSlow
	evSleep
)

func (v event) model() *fuzz.Model {
	return &fuzz.Model{
		Name:      fmt.Sprintf("event, %d processes, %d setters, %d crashes", v.processes, v.setters, v.crashes),
		Processes: v.processes, Threads: 1, Crashes: v.crashes,
		Cells: []fuzz.Cell{
			evWaiters: {Name: "waiters"}, evSet: {Name: "set"}, evTurn: {Name: "turn"},
			evPicked: {Name: "picked"}, evToCome: {Name: "sets to come", Init: byte(v.setters)},
		},
		Registers: []fuzz.Cell{
			evFirst: {Name: "first"}, evSaw: {Name: "saw turn"}, evLeaves: {Name: "leaves"},
			evAsleep: {Name: "awake"}, evOwes: {Name: "owes a set"},
		},
		Steps: []fuzz.Step{
			evPick:      {Name: "choose a part", Do: v.pick},
			evSetCall:   {Name: "Set: CAS", Do: v.setCall},
			evSetWakeOp: {Name: "Set: wake-op: set, wake all", Do: v.setWakeOp, System: true},
			evSetWake:   {Name: "Set: futex wake all", Do: v.setWake, System: true},
			evReset:     {Name: "Reset: CAS", Do: v.reset},
			evWait:      {Name: "Wait: load", Do: v.wait},
			evWaitFirst: {Name: "Wait: load again", Do: v.waitFirst},
			evWaitSlow:  {Name: "waitSlow: passed, or CAS waiters", Do: v.waitSlow},
			evSleep:     {Name: "waitSlow: futex wait", Do: v.sleep, System: true},
		},
		Late: v.late, GiveUps: v.giveUps, Spurious: v.spurious,
		Exit: v.exit,
	}
}

func (v event) pick(w *fuzz.World) {
	n := w.Get(evPicked)
	w.Goto(evWait)
	if n < v.setters {
		w.Set(evPicked, n+1)
		w.SetReg(evOwes, 1)
		w.Goto(evSetCall)
	}
}

// effect notes that a Set has had its effect.
func (v event) effect(w *fuzz.World) {
	w.Set(evSet, 1)
	w.Set(evToCome, w.Get(evToCome)-1)
	w.SetReg(evOwes, 0)
	w.Goto(evReset)
}

func (v event) setCall(w *fuzz.World) {
	switch {
	case w.Get(evSet) != 0 || w.Get(evWaiters) == 0:
		v.effect(w)
	case v.split:
		v.effect(w)
		w.Goto(evSetWake)
	default:
		w.Goto(evSetWakeOp)
	}
}

func (v event) setWakeOp(w *fuzz.World) {
	v.effect(w)
	v.wakeUp(w)
}

func (v event) setWake(w *fuzz.World) {
	v.wakeUp(w)
	w.Goto(evReset)
}

func (v event) wakeUp(w *fuzz.World) {
	if v.wakeOne {
		w.Wake(1, evWaiters)
		return
	}
	w.Wake(v.processes, evWaiters)
}

func (v event) reset(w *fuzz.World) {
	if w.Choose(2) == 1 && w.Get(evSet) != 0 {
		w.Set(evSet, 0)
		w.Set(evWaiters, 0)
		if !v.noTurn {
			w.Set(evTurn, w.Get(evTurn)+1)
		}
	}
	w.Finish()
}

func (v event) wait(w *fuzz.World) {
	if w.Get(evSet) != 0 {
		w.Finish()
		return
	}
	if w.Get(evToCome) == 0 {
		w.SetReg(evLeaves, 1)
	}
	w.SetReg(evFirst, w.Get(evTurn))
	w.Goto(evWaitSlow)
	if v.lateFirst {
		w.Goto(evWaitFirst)
	}
}

func (v event) waitFirst(w *fuzz.World) {
	w.SetReg(evFirst, w.Get(evTurn))
	w.Goto(evWaitSlow)
}

func (v event) passed(w *fuzz.World) bool {
	return w.Get(evSet) != 0 || w.Get(evTurn) != w.Reg(evFirst)
}

func (v event) waitSlow(w *fuzz.World) {
	w.SetReg(evAsleep, 0)
	if v.passed(w) {
		w.Finish()
		return
	}
	w.Set(evWaiters, 1)
	w.SetReg(evSaw, w.Get(evTurn))
	w.Goto(evSleep)
	if w.Reg(evLeaves) != 0 {
		w.Finish()
	}
}

func (v event) sleep(w *fuzz.World) {
	if w.Wakeup() == fuzz.Cancelled || w.Reg(evAsleep) == 0 && w.GiveUp() {
		w.Finish() // passed or not: it returns
		return
	}
	same := w.Get(evTurn) == w.Reg(evSaw)
	if v.oneBit {
		same = w.Get(evTurn)%2 == w.Reg(evSaw)%2
	}
	same = same && w.Get(evSet) == 0 && w.Get(evWaiters) != 0
	if w.Reg(evAsleep) == 0 && (same || v.noCompare) {
		w.SetReg(evAsleep, 1)
		w.Sleep(evSleep, evWaiters)
		return
	}
	w.Goto(evWaitSlow)
}

// exit does the Set of a setter that has died before it had an effect, whole:
// who waits for it would wait rightly.
func (v event) exit(w *fuzz.World) {
	if w.Reg(evOwes) != 0 {
		v.effect(w)
		w.Wake(v.processes, evWaiters)
	}
}

func TestEventModel(t *testing.T) {
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    event
		size int
	}{
		{"4,1,0", event{processes: 4, setters: 1}, 0},
		{"4,2,1", event{processes: 4, setters: 2, crashes: 1}, 0},
		{"4,2,2,giving up,spurious", event{processes: 4, setters: 2, crashes: 2, giveUps: 2, spurious: true}, 0},
		{"5,2,1,late,giving up,spurious", event{processes: 5, setters: 2, crashes: 1, late: late, giveUps: 1, spurious: true}, 0},
		{"5,3,2,late", event{processes: 5, setters: 3, crashes: 2, late: late}, 1},
		{"6,3,2,late,giving up,spurious", event{processes: 6, setters: 3, crashes: 2, late: late, giveUps: 2, spurious: true}, 2},
	} {
		t.Run(row.name, func(t *testing.T) { holds(t, row.v.model(), row.size) })
	}
}

func TestEventMistakes(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    event
	}{
		{"store, then wake", event{processes: 4, setters: 1, crashes: 1, split: true}},
		{"Set wakes one", event{processes: 4, setters: 1, wakeOne: true}},
		{"B6: sleep on one bit of the turn", event{processes: 4, setters: 2, oneBit: true}},
		{"Reset leaves no trace", event{processes: 4, setters: 1, noTurn: true}},
		{"first look too late", event{processes: 4, setters: 1, lateFirst: true}},
		{"no compare before sleep", event{processes: 4, setters: 1, noCompare: true}},
	} {
		t.Run(row.name, func(t *testing.T) { caught(t, row.v.model(), fuzz.ErrStuck) })
	}
}

// oneGoroutine skips a search in a build for the race detector, which has nothing
// to find in it and makes it ten times as slow. The Event's model is left in.
func oneGoroutine(t *testing.T) {
	t.Helper()
	if fuzz.RaceBuild {
		t.Skip("one goroutine: nothing to race with")
	}
}

// holds checks a model of which nothing may be said against. Size 1 leaves it
// out with -short and -race, 2 without -long.
func holds(t *testing.T, m *fuzz.Model, size int) {
	t.Helper()
	if size == 1 && (testing.Short() || fuzz.RaceBuild) || size == 2 && !*long {
		t.Skip("too large for this run")
	}
	r := fuzz.Check(m)
	t.Log(r, r.Elapsed)
	if r.Err != nil {
		t.Error("does not hold")
	}
}

// with is a model with something changed.
func with[T any](v T, change func(*T)) T { change(&v); return v }

// caught checks a model with a mistake, which must break the rule want.
func caught(t *testing.T, m *fuzz.Model, want error) {
	t.Helper()
	r := fuzz.Check(m)
	if testing.Verbose() {
		t.Log(r, r.Elapsed)
	}
	if !errors.Is(r.Err, want) {
		t.Errorf("got %v, want %v", r, want)
	}
	if len(r.Trace) == 0 {
		t.Error("no trace")
	}
}
