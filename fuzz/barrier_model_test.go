package fuzz_test

import (
	"errors"
	"fmt"

	"github.com/rawipc/rawipc/fuzz"
)

// barrier is the barrier of package futex, with the ways in which it can be got
// wrong. The first process breaks and resets, so often as resets says; of the
// others, parties at a time pass the barrier once each, and come again when it
// was broken. Where the death of one leaves too few of them, those that wait
// give up, as their contexts would have them do.
type barrier struct {
	processes, parties, resets, crashes int
	late                                fuzz.Late
	breaks                              bool // each Reset follows a Break
	odd                                 bool // one comes for a second round, alone, and we look away some time

	// Mistakes.
	noEnds    bool // sleepers don't look at ends
	wrap      bool // rounds are counted modulo 2, and nobody looks at ends (B8)
	noPending bool // who ends a round does not name the word
	noHelp    bool // who comes first does not wake those left behind in the last round
	noPass    bool // who is woken by a death does not wake the others
	oneWake   bool // only one is woken at the end, and wakes nobody
	noPast    bool // only how the last round ended is known
	noHandOn  bool // of a pair, who is woken in vain does not wake another
	allPairs  bool // more than two do as a pair does
}

// Shared cells; the first is the low half: waiters (1) and phase (2).
const (
	brLow = iota
	brCame
	brBroken
	brPast
	brRound
	brEnds
	brResets
	brRoles
	brGone  // some parties are missing for good
	brExact // the round, as it is
	brFate  // how that round and those after it ended, for brFates rounds
)

const (
	brFates    = 8
	fateDone   = 1
	fateReset  = 2
	barrierMod = 16 // rounds are counted modulo this, which they never reach here
)

// Registers.
const (
	brTicket = iota // the round come to
	brMine          // the round as it is
	brSeenEnds
	brSeenLow // and the state as last loaded
	brSeenCame
	brSeenBroken
	brSeenPast
	brSeenRound
	brArrived
	brPending
	brTo     // what to end with: see brEnd
	brAsleep // asleep, or (2) has slept and must wake another before it sleeps again
	brIsResetter
)

const (
	toDone = iota
	toReset
	toBreak
	toLeave
)

// Steps.
const (
	brStart = iota
	brArrive
	brHelp
	brLoadEnds
	brLook
	brHandOn
	brSleep
	brPassOn
	brResetter
	brLoad
	brCount
	brChange
	brWake
)

var errDisagree = errors.New("the parties of a round don't agree on how it ended")

func (v barrier) model() *fuzz.Model {
	m := &fuzz.Model{
		Name:      fmt.Sprintf("barrier of %d in %d, %d resets, %d crashes", v.parties, v.processes, v.resets, v.crashes),
		Processes: v.processes, Threads: 1, Crashes: v.crashes, Late: v.late,
		Cells: []fuzz.Cell{
			{Name: "low"}, {Name: "came"}, {Name: "broken"}, {Name: "past"}, {Name: "round"}, {Name: "ends"},
			{Name: "resets", Init: byte(v.resets)}, {Name: "roles"}, {Name: "gone"}, {Name: "exact round"},
		},
		Registers: []fuzz.Cell{
			brTicket: {Name: "ticket"}, brMine: {Name: "mine"},
			brSeenEnds: {Name: "seen ends"}, brSeenLow: {Name: "seen low"}, brSeenCame: {Name: "seen came"},
			brSeenBroken: {Name: "seen broken"}, brSeenPast: {Name: "seen past"}, brSeenRound: {Name: "seen round"},
			brArrived: {Name: "arrived"}, brPending: {Name: "pending"}, brTo: {Name: "to"}, brAsleep: {Name: "has slept"}, brIsResetter: {Name: "resetter"},
		},
		Steps: []fuzz.Step{
			brStart:    {Name: "start", Do: v.start},
			brArrive:   {Name: "wait: arrive", Do: v.arrive},
			brHelp:     {Name: "wait: wake those of the last round", Do: v.help, System: true},
			brLoadEnds: {Name: "wait: load ends again", Do: v.loadEnds},
			brLook:     {Name: "wait: look, set waiters", Do: v.look},
			brHandOn:   {Name: "wait: hand the wake on", Do: v.handOn, System: true},
			brSleep:    {Name: "wait: futex wait", Do: v.sleep, System: true},
			brPassOn:   {Name: "wait: pass the wake on", Do: v.passOn, System: true},
			brResetter: {Name: "resetter", Do: v.resetter},
			brLoad:     {Name: "end: load", Do: v.load},
			brCount:    {Name: "end: count", Do: v.count},
			brChange:   {Name: "end: change", Do: v.change},
			brWake:     {Name: "end: wake", Do: v.wake, System: true},
		},
		Exit: v.exit,
	}
	for i := range brFates {
		m.Cells = append(m.Cells, fuzz.Cell{Name: fmt.Sprint("fate ", i)})
	}
	return m
}

func (v barrier) mod() int {
	if v.wrap {
		return 2
	}
	return barrierMod
}

func (v barrier) start(w *fuzz.World) {
	if w.Get(brRoles) == 0 && v.resets > 0 {
		w.Set(brRoles, 1)
		w.SetReg(brIsResetter, 1)
		w.Goto(brResetter)
		return
	}
	w.Goto(brArrive)
}

// see loads the state.
func (v barrier) see(w *fuzz.World) {
	w.SetReg(brSeenLow, w.Get(brLow))
	w.SetReg(brSeenCame, w.Get(brCame))
	w.SetReg(brSeenBroken, w.Get(brBroken))
	w.SetReg(brSeenPast, w.Get(brPast))
	w.SetReg(brSeenRound, w.Get(brRound))
}

func (v barrier) forget(w *fuzz.World, from int) {
	for r := from; r <= brAsleep; r++ {
		w.SetReg(r, 0)
	}
}

// arrive is the load and the CAS that succeeds, in one.
func (v barrier) arrive(w *fuzz.World) {
	switch {
	case w.Get(brGone) != 0:
		w.Finish()
		return
	case w.Get(brBroken) != 0:
		return // ErrBroken, and it comes again
	case w.Get(brCame) == 0 && w.Get(brLow)&1 != 0 && !v.noHelp:
		w.Goto(brHelp)
		return
	}
	w.SetReg(brTicket, w.Get(brRound))
	w.SetReg(brMine, w.Get(brExact))
	if w.Get(brCame)+1 == v.parties {
		// The last one ends the round, by a CAS of what it has loaded here.
		v.see(w)
		w.SetReg(brTo, toDone)
		w.Goto(brCount)
		return
	}
	w.Set(brCame, w.Get(brCame)+1)
	w.SetReg(brArrived, 1)
	w.Goto(brLoadEnds)
}

func (v barrier) help(w *fuzz.World) {
	w.Set(brLow, w.Get(brLow)&^1)
	w.Wake(255, brLow)
	w.Goto(brArrive)
}

// again is how a Wait ends with ErrBroken: the party comes once more.
func (v barrier) again(w *fuzz.World) {
	v.forget(w, 0)
	w.Goto(brArrive)
}

func (v barrier) loadEnds(w *fuzz.World) {
	w.SetReg(brSeenEnds, w.Get(brEnds))
	w.Goto(brLook)
}

// outcome tells of the round of the ticket whether it is over, and how.
func (v barrier) outcome(w *fuzz.World) (over bool, fate int) {
	ago := (w.Get(brRound) - w.Reg(brTicket) + v.mod()) % v.mod()
	known := 3
	if v.noPast {
		known = 1
	}
	switch {
	case ago == 0 && w.Get(brBroken) == 0:
		return false, 0
	case ago == 0 || ago > known || w.Get(brPast)>>(ago-1)&1 != 0:
		return true, fateReset
	}
	return true, fateDone
}

func (v barrier) look(w *fuzz.World) {
	over, fate := v.outcome(w)
	switch {
	case over && w.Get(brLow)&1 != 0 && (w.Get(brCame) == 0 || w.Get(brBroken) != 0) && !v.noPass && !v.oneWake:
		w.SetReg(brTo, fate)
		w.Goto(brPassOn)
	case over:
		v.leave(w, fate)
	case w.Get(brGone) != 0: // the context ends
		w.SetReg(brTo, toLeave)
		w.Goto(brLoad)
	default:
		w.Set(brLow, w.Get(brLow)|1)
		w.SetReg(brPending, 1)
		w.SetReg(brSeenLow, w.Get(brLow))
		w.Goto(brSleep)
		if w.Reg(brAsleep) == 2 {
			w.Goto(brHandOn)
		}
	}
}

// pair reports whether one at most sleeps in each round.
func (v barrier) pair() bool { return v.parties == 2 || v.allPairs }

func (v barrier) handOn(w *fuzz.World) {
	w.Wake(1, brLow)
	w.SetReg(brAsleep, 0)
	w.Goto(brSleep)
}

// leave is the return of a Wait in which somebody else ended the round.
func (v barrier) leave(w *fuzz.World, fate int) {
	want := w.Get(brFate + w.Reg(brMine))
	// A round in which one gave up was broken, and ends by Reset.
	if want == 0 && (fate == fateDone || w.Get(brExact) != w.Reg(brMine)) || want != 0 && want != fate {
		w.Fail("%w: %d, not %d", errDisagree, fate, want)
	}
	if fate == fateDone {
		w.Finish()
		return
	}
	v.again(w)
}

// sleep looks at two words, or at one for a while: the model sees a sleep on both
// that can begin too late, but ends by itself then.
func (v barrier) sleep(w *fuzz.World) {
	again := func() {
		w.SetReg(brSeenLow, 0)
		w.SetReg(brSeenEnds, 0)
		w.Goto(brLoadEnds)
	}
	alone := v.odd && w.Reg(brMine) == 1
	switch {
	case w.Reg(brAsleep) == 1 && alone && w.Wakeup() == fuzz.TimedOut:
		w.Finish()
	case w.Reg(brAsleep) == 1: // awake again
		w.SetReg(brAsleep, 0)
		if v.pair() && !v.noHandOn {
			w.SetReg(brAsleep, 2)
		}
		again()
	case w.Get(brGone) != 0, w.Get(brLow) != w.Reg(brSeenLow): // the context has ended, or the round
		again()
	default:
		w.SetReg(brAsleep, 1)
		if tooLate := !v.noEnds && !v.wrap && w.Get(brEnds) != w.Reg(brSeenEnds); tooLate || alone {
			w.SleepBounded(brSleep, brLow)
		} else {
			w.Sleep(brSleep, brLow)
		}
	}
}

func (v barrier) passOn(w *fuzz.World) {
	w.Set(brLow, w.Get(brLow)&^1)
	w.Wake(255, brLow)
	v.leave(w, w.Reg(brTo))
}

func (v barrier) resetter(w *fuzz.World) {
	n := w.Get(brResets)
	switch {
	case v.breaks && n > 0 && w.Get(brBroken) == 0:
		w.SetReg(brTo, toBreak)
	case n > 0:
		w.Set(brResets, n-1)
		w.SetReg(brTo, toReset)
	default:
		w.Finish()
		return
	}
	w.Goto(brLoad)
}

// load is the first step of whoever ends a round, but for the last to arrive.
func (v barrier) load(w *fuzz.World) {
	v.see(w)
	w.Goto(brCount)
	switch w.Reg(brTo) {
	case toBreak:
		if w.Get(brBroken) != 0 {
			v.ended(w)
		}
	case toReset:
		if w.Get(brBroken) == 0 && w.Get(brCame) == 0 {
			v.ended(w)
		}
	case toLeave:
		if over, fate := v.outcome(w); over {
			v.leave(w, fate)
		}
	}
}

func (v barrier) count(w *fuzz.World) {
	w.Set(brEnds, w.Get(brEnds)+1)
	if w.Reg(brSeenLow)&1 != 0 && !v.noPending {
		w.SetReg(brPending, 1)
	}
	w.Goto(brChange)
}

func (v barrier) change(w *fuzz.World) {
	to := w.Reg(brTo)
	same := w.Get(brLow) == w.Reg(brSeenLow) && w.Get(brCame) == w.Reg(brSeenCame) &&
		w.Get(brBroken) == w.Reg(brSeenBroken) && w.Get(brPast) == w.Reg(brSeenPast) && w.Get(brRound) == w.Reg(brSeenRound)
	if !same {
		w.SetReg(brPending, 0)
		if to == toDone { // it has not arrived yet
			v.again(w)
		} else {
			w.Goto(brLoad)
		}
		return
	}
	w.Set(brLow, w.Get(brLow)^2)
	if v.pair() {
		w.Set(brLow, w.Get(brLow)&^1)
	}
	if to == toBreak || to == toLeave {
		w.Set(brBroken, 1)
	} else {
		broke := 0
		fate := fateDone
		if to == toReset {
			broke, fate = 1, fateReset
		}
		w.Set(brFate+w.Get(brExact), fate)
		w.Set(brExact, w.Get(brExact)+1)
		w.Set(brPast, (w.Get(brPast)<<1|broke)&7)
		w.Set(brRound, (w.Get(brRound)+1)%v.mod())
		w.Set(brCame, 0)
		w.Set(brBroken, 0)
	}
	w.SetReg(brArrived, 1)
	if to != toDone {
		for p := range v.processes {
			if w.Dying(p + 1) {
				w.Set(brGone, 1)
			}
		}
	}
	switch {
	case w.Reg(brSeenLow)&1 != 0:
		w.Goto(brWake)
	default:
		v.ended(w)
	}
}

func (v barrier) wake(w *fuzz.World) {
	switch {
	case v.oneWake:
		w.Wake(1, brLow)
	case v.pair():
		w.Wake(255, brLow)
	default:
		w.Set(brLow, w.Get(brLow)&^1)
		w.Wake(255, brLow)
	}
	w.SetReg(brPending, 0)
	v.ended(w)
}

// ended is the return of whoever has ended a round.
func (v barrier) ended(w *fuzz.World) {
	to := w.Reg(brTo)
	v.forget(w, 0)
	switch to {
	case toDone, toLeave:
		w.Finish()
	default:
		w.Goto(brResetter)
	}
}

// exit is the kernel's part in a death. If one is missing for good now, the
// others' contexts end.
func (v barrier) exit(w *fuzz.World) {
	if w.Reg(brPending) != 0 {
		w.Wake(1, brLow)
	}
	reset := w.Reg(brArrived) == 0 || w.Get(brBroken) != 0 || w.Get(brFate+w.Reg(brMine)) == fateReset
	if w.Reg(brIsResetter) != 0 {
		reset = w.Get(brBroken) != 0
	}
	if reset {
		w.Set(brGone, 1)
		w.Wake(255, brLow)
	}
}
