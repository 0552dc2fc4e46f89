package fuzz_test

import (
	"errors"
	"fmt"

	"github.com/rawipc/rawipc/fuzz"
)

// cond is the condition variable of package futex, with the ways in which it
// can be got wrong. The first processes signal, one more than may die, and the
// others wait once. No more signals are sent than there are live waiters, so
// that one that is lost leaves somebody asleep. The look for the dead that a
// sleeper takes from time to time is the signallers' too, as long as somebody
// sleeps. It does nothing else: a wake that does not come is not made good by it.
type cond struct {
	processes, crashes, giveUps int
	late                        fuzz.Late

	// Mistakes.
	pool      bool // signals are anybody's (B7)
	sequence  bool // a signal flips a bit, instead of being counted (B8)
	wakeFirst bool // and then the signal is stored
	noPending bool // who is about to wake does not name the word
	noBusy    bool // a signal is consumed when it is taken
	clear     bool // a dead process's signals are cleared, then given
	noReap    bool // nobody looks for the dead
	careless  bool // who gives up does not look for a signal
}

// condSlots is how many processes can wait.
const condSlots = 3

// Shared cells. A slot's low half is waiters (1) and phase (2).
const (
	cdLow  = iota // one for each slot
	cdPool = condSlots + iota - 1
	cdMu
	cdRoles
	cdGen      // signals sent
	cdConsumed // and consumed
	cdBorn     // by those who began to wait after so many: 0, 1, 2 or more
	cdSlot     = cdBorn + 3
)

// Of each slot, from cdSlot on.
const (
	slotLive = iota
	slotWaiting
	slotSignals
	slotBusy
	slotCells
)

// Registers.
const (
	cdMine    = iota // this process's slot
	cdTarget         // the slot being signalled, or reaped
	cdPending        // list_op_pending names that slot's word, 1 more
	cdSeen           // the low half gone to sleep on
	cdSince          // signals sent before
	cdLost           // clear: the dead one's
)

// Steps.
const (
	cdStart = iota
	cdIdle
	cdLockSend
	cdSend
	cdNobody
	cdSendDone
	cdSendWake
	cdLockJoin
	cdJoin
	cdJoined // the waiters' range begins
	cdLook
	cdSleep
	cdLockTake
	cdTake
	cdTaken
	cdReturn // and ends
	cdLockLeave
	cdLeave
	cdLockReap
	cdReap
	cdGive
	cdGiveWake
	cdGiven
	cdReaped
)

var errStolen = errors.New("a signal ended a wait that began after it")

func (v cond) model() *fuzz.Model {
	m := &fuzz.Model{
		Name:      fmt.Sprintf("cond %d, %d crashes", v.processes, v.crashes),
		Processes: v.processes, Threads: 1, Crashes: v.crashes, GiveUps: v.giveUps, Late: v.late,
		Cells: []fuzz.Cell{
			{Name: "low 0"}, {Name: "low 1"}, {Name: "low 2"}, {Name: "pool"}, {Name: "mu", Kind: fuzz.ProcessID}, {Name: "roles"},
			{Name: "sent"}, {Name: "consumed"}, {Name: "born 0"}, {Name: "born 1"}, {Name: "born 2"},
		},
		Registers: []fuzz.Cell{
			cdMine: {Name: "slot"}, cdTarget: {Name: "target"}, cdPending: {Name: "pending"}, cdSeen: {Name: "seen"},
			cdSince: {Name: "since"}, cdLost: {Name: "lost"},
		},
		Steps: []fuzz.Step{
			cdStart:     {Name: "start", Do: v.start},
			cdIdle:      {Name: "signaller: anybody to signal?", Do: v.idle},
			cdLockSend:  {Name: "signal: lock", Do: v.lock(cdSend)},
			cdSend:      {Name: "signal: store", Do: v.send},
			cdNobody:    {Name: "signal: unlock, nobody waits", Do: v.unlock(cdIdle)},
			cdSendDone:  {Name: "signal: unlock", Do: v.unlock(cdSendWake)},
			cdSendWake:  {Name: "signal: wake", Do: v.wake(cdIdle), System: true},
			cdLockJoin:  {Name: "wait: lock", Do: v.lock(cdJoin)},
			cdJoin:      {Name: "wait: take a slot", Do: v.join},
			cdJoined:    {Name: "wait: unlock", Do: v.unlock(cdLook)},
			cdLook:      {Name: "wait: look", Do: v.look},
			cdSleep:     {Name: "wait: futex wait", Do: v.sleep, System: true},
			cdLockTake:  {Name: "wait: lock to take the signal", Do: v.lock(cdTake)},
			cdTake:      {Name: "wait: take the signal", Do: v.take},
			cdTaken:     {Name: "wait: unlock with the signal", Do: v.unlock(cdReturn)},
			cdReturn:    {Name: "wait: return", Do: v.ret},
			cdLockLeave: {Name: "give up: lock", Do: v.lock(cdLeave)},
			cdLeave:     {Name: "give up", Do: v.leave},
			cdLockReap:  {Name: "look around: lock", Do: v.lock(cdReap)},
			cdReap:      {Name: "reap: count", Do: v.reap},
			cdGive:      {Name: "reap: give", Do: v.give},
			cdGiveWake:  {Name: "reap: wake", Do: v.wake(cdGiven), System: true},
			cdGiven:     {Name: "reap: take", Do: v.given},
			cdReaped:    {Name: "look around: unlock", Do: v.unlock(cdIdle)},
		},
		Exit: v.exit,
	}
	for i := range condSlots {
		name := func(s string) string { return fmt.Sprint(s, " ", i) }
		m.Cells = append(m.Cells, fuzz.Cell{Name: name("live"), Kind: fuzz.ProcessID},
			fuzz.Cell{Name: name("waiting")}, fuzz.Cell{Name: name("signals")}, fuzz.Cell{Name: name("busy")})
	}
	return m
}

func slotCell(i, what int) int { return cdSlot + i*slotCells + what }

func slotGet(w *fuzz.World, i, what int) int { return w.Get(slotCell(i, what)) }

// setSlot stores a slot's count; phase follows from it.
func setSlot(w *fuzz.World, i, waiting, signals int) {
	w.Set(slotCell(i, slotWaiting), waiting)
	w.Set(slotCell(i, slotSignals), signals)
	low := w.Get(cdLow+i) &^ 2
	if signals == 0 {
		low |= 2
	}
	w.Set(cdLow+i, low)
}

func (v cond) start(w *fuzz.World) {
	switch {
	case w.Get(cdRoles) < max(2, v.crashes+1):
		w.Set(cdRoles, w.Get(cdRoles)+1)
		w.Goto(cdIdle)
	default:
		w.Goto(cdLockJoin)
	}
}

// lock takes the inner lock, and finishes what a dead holder may have left.
func (v cond) lock(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		owner := w.Get(cdMu)
		if !w.FullyDead(owner) {
			return
		}
		for i := 0; i < condSlots && owner != 0; i++ {
			if slotGet(w, i, slotSignals) > 0 {
				w.Set(cdLow+i, w.Get(cdLow+i)&^1)
				w.Wake(255, cdLow+i)
			}
		}
		w.Set(cdMu, w.Process())
		w.Goto(next)
	}
}

func (v cond) unlock(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		w.Set(cdMu, 0)
		w.Goto(next)
	}
}

// live calls f for each process that lives, with its next step.
func (v cond) live(w *fuzz.World, f func(step int, asleep bool)) {
	for p := range v.processes {
		if !w.Dying(p + 1) {
			f(w.At(p, 0), w.Asleep(p, 0))
		}
	}
}

// idle waits until there are more live waiters than signals on their way.
func (v cond) idle(w *fuzz.World) {
	waiting, coming, sleeping := 0, false, false
	v.live(w, func(step int, asleep bool) {
		sleeping = sleeping || asleep
		if step >= cdJoined && step <= cdReturn || step == cdLockLeave || step == cdLeave {
			waiting++
		}
		coming = coming || step == cdStart || step == cdLockJoin || step == cdJoin
	})
	switch {
	case waiting > max(w.Get(cdGen)-w.Get(cdConsumed), 0):
		w.Goto(cdLockSend)
	case sleeping && v.dead(w) >= 0 && !v.noReap:
		w.Goto(cdLockReap)
	case waiting == 0 && !coming:
		w.Finish()
	}
}

// choose picks a slot whose process waits for a signal.
func (v cond) choose(w *fuzz.World, except int) int {
	var found []int
	for i := range condSlots {
		if i != except && slotGet(w, i, slotWaiting) > slotGet(w, i, slotSignals) ||
			v.sequence && slotGet(w, i, slotWaiting) > 0 {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return -1
	}
	return found[w.Choose(len(found))]
}

func (v cond) send(w *fuzz.World) {
	if v.pool {
		w.Set(cdPool, w.Get(cdPool)+1)
		w.Set(cdGen, w.Get(cdGen)+1)
		w.Goto(cdSendDone)
		return
	}
	to := v.choose(w, -1)
	if to < 0 {
		w.Goto(cdNobody)
		return
	}
	w.SetReg(cdTarget, to)
	if v.wakeFirst {
		w.Set(cdLow+to, w.Get(cdLow+to)&^1)
		w.Wake(255, cdLow+to)
		w.Goto(cdSendDone)
		return
	}
	v.store(w, to)
	w.Set(cdGen, w.Get(cdGen)+1)
	w.Goto(cdSendDone)
}

// store gives one signal to a slot. Naming the word is a step of its own, but
// one that nobody can tell from the store after it.
func (v cond) store(w *fuzz.World, to int) {
	if !v.noPending {
		w.SetReg(cdPending, to+1)
	}
	n := slotGet(w, to, slotSignals) + 1
	if v.sequence {
		n %= 2
	}
	setSlot(w, to, slotGet(w, to, slotWaiting), n)
}

func (v cond) wake(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		w.Goto(next)
		to := w.Reg(cdTarget)
		switch {
		case v.pool:
			w.Wake(1, cdPool)
		case v.wakeFirst && next == cdIdle:
			v.store(w, to)
			w.Set(cdGen, w.Get(cdGen)+1)
		case w.Get(cdLow+to)&1 != 0:
			w.Set(cdLow+to, w.Get(cdLow+to)&^1)
			w.Wake(255, cdLow+to)
		}
		w.SetReg(cdPending, 0)
		if next == cdIdle {
			w.SetReg(cdTarget, 0)
		}
	}
}

func (v cond) join(w *fuzz.World) {
	for i := range condSlots {
		if slotGet(w, i, slotLive) == 0 {
			w.Set(slotCell(i, slotLive), w.Process())
			setSlot(w, i, 1, 0)
			w.SetReg(cdMine, i)
			w.SetReg(cdSince, min(w.Get(cdGen), 2))
			w.Goto(cdJoined)
			return
		}
	}
	w.Fail("no slot")
}

func (v cond) look(w *fuzz.World) {
	me := w.Reg(cdMine)
	switch {
	case v.pool && w.Get(cdPool) > 0, !v.pool && slotGet(w, me, slotSignals) > 0:
		w.Goto(cdLockTake)
		return
	case !v.pool:
		w.Set(cdLow+me, w.Get(cdLow+me)|1)
	}
	w.SetReg(cdSeen, 3)
	w.Goto(cdSleep)
}

func (v cond) sleep(w *fuzz.World) {
	seen := w.Reg(cdSeen)
	w.SetReg(cdSeen, 0)
	switch {
	case w.Wakeup() == fuzz.Cancelled:
		w.Goto(cdLockLeave)
	case seen == 0: // awake again
		w.Goto(cdLook)
	case v.pool && w.Get(cdPool) == 0:
		w.Sleep(cdSleep, cdPool)
	case !v.pool && w.Get(cdLow+w.Reg(cdMine)) == seen:
		w.Sleep(cdSleep, cdLow+w.Reg(cdMine))
	default:
		w.Goto(cdLook)
	}
}

func (v cond) take(w *fuzz.World) {
	me := w.Reg(cdMine)
	switch {
	case v.pool && w.Get(cdPool) == 0, !v.pool && slotGet(w, me, slotSignals) == 0:
		w.Goto(cdJoined)
		return
	case v.pool:
		w.Set(cdPool, w.Get(cdPool)-1)
	default:
		setSlot(w, me, slotGet(w, me, slotWaiting)-1, slotGet(w, me, slotSignals)-1)
	}
	if !v.noBusy {
		w.Set(slotCell(me, slotBusy), 1)
	}
	w.Goto(cdTaken)
}

// consume counts a signal that has ended a wait. As long as nobody died, and
// left a signal twice, there must be an assignment of signals to the waits that
// they ended in which each signal is later than the beginning of its wait.
func (v cond) consume(w *fuzz.World) {
	w.Set(cdConsumed, w.Get(cdConsumed)+1)
	if v.crashes > 0 {
		return
	}
	since := w.Reg(cdSince)
	w.Set(cdBorn+since, w.Get(cdBorn+since)+1)
	later := 0
	for t := 2; t >= 0; t-- {
		if later += w.Get(cdBorn + t); later > max(w.Get(cdGen)-t, 0) {
			w.Fail("%w", errStolen)
		}
	}
}

func (v cond) ret(w *fuzz.World) {
	w.Set(slotCell(w.Reg(cdMine), slotBusy), 0)
	v.consume(w)
	w.Finish()
}

func (v cond) leave(w *fuzz.World) {
	me := w.Reg(cdMine)
	if !v.careless && slotGet(w, me, slotSignals) > 0 {
		v.take(w)
		return
	}
	setSlot(w, me, 0, 0)
	w.Set(cdMu, 0)
	w.Finish()
}

func (v cond) dead(w *fuzz.World) int {
	for i := range condSlots {
		if live := slotGet(w, i, slotLive); live != 0 && w.FullyDead(live) {
			return i
		}
	}
	return -1
}

func (v cond) reap(w *fuzz.World) {
	i := v.dead(w)
	if i < 0 {
		w.Goto(cdReaped)
		return
	}
	lost := slotGet(w, i, slotSignals) + slotGet(w, i, slotBusy)
	w.SetReg(cdMine, i)
	if v.clear {
		w.SetReg(cdLost, lost)
		lost = 0
		w.Set(slotCell(i, slotLive), 0)
	}
	setSlot(w, i, lost, lost)
	w.Set(slotCell(i, slotBusy), 0)
	w.Goto(cdGive)
}

// give sends one of the dead one's signals, or ends the reaping.
func (v cond) give(w *fuzz.World) {
	i := w.Reg(cdMine)
	lost := slotGet(w, i, slotSignals) + w.Reg(cdLost)
	to := -1
	if lost > 0 {
		to = v.choose(w, i)
	}
	if to < 0 {
		w.Set(cdGen, max(w.Get(cdGen)-lost, 0)) // nobody waits whom they could wake
		setSlot(w, i, 0, 0)
		w.Set(slotCell(i, slotLive), 0)
		w.SetReg(cdMine, 0)
		w.SetReg(cdTarget, 0)
		w.SetReg(cdLost, 0)
		w.Goto(cdReaped)
		return
	}
	w.SetReg(cdTarget, to)
	v.store(w, to)
	w.Goto(cdGiveWake)
}

func (v cond) given(w *fuzz.World) {
	if i := w.Reg(cdMine); w.Reg(cdLost) > 0 {
		w.SetReg(cdLost, w.Reg(cdLost)-1)
	} else {
		setSlot(w, i, slotGet(w, i, slotSignals)-1, slotGet(w, i, slotSignals)-1)
	}
	w.Goto(cdGive)
}

func (v cond) exit(w *fuzz.World) {
	if n := w.Reg(cdPending); n != 0 {
		w.Wake(1, cdLow+n-1)
	}
}
