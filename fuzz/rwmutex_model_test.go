package fuzz_test

import (
	"errors"
	"fmt"

	"github.com/rawipc/rawipc/fuzz"
)

// rwMutex is the lock for readers and writers of package futex, with the ways in
// which it can be got wrong. The first to come are its writers, the others
// read; each locks once. Readers of two processes have room.
//
// The writers' lock is one cell here, whose own protocol robustMutex is about:
// who wants it tries until it is free or its owner fully dead. Those who wait
// for a dead process look around after a time: here the end of its last thread
// wakes them, and nobody goes to sleep for a dead one. So no time helps one whose
// wake was lost.
// That a reader is let in between two writers is fairness, and left out.
type rwMutex struct {
	processes, writers, crashes, giveUps int
	late                                 fuzz.Late
	timer                                bool

	// Mistakes.
	looksEarly    bool // the writer looks at the counts before it closes the gate
	gateFirst     bool // the reader looks at the gate before it counts
	dropsAny      bool // a dead reader's count is dropped by whatever process has the slot now
	dropsDying    bool // and before that reader is gone to its last thread
	inheritsLate  bool // who takes a dead one's slot leaves the count there
	openUnnamed   bool // the gate is opened in two steps, with the word not named
	leaveUnnamed  bool // and so for the last reader
	noPassing     bool // who is woken by a death does not wake the others
	noPhase       bool // the last reader leaves no mark in the low half
	opensFirst    bool // recovery opens the gate before it notes the trouble
	noInside      bool // a dead writer is taken for one that has not been inside
	neverRecovers bool // readers do not open a dead writer's gate
}

// Shared cells. The low halves are phase (1: the gate is closed; the last reader
// has left) and waiters (2).
const (
	rwGate = iota
	rwLow  // of the slots, two of each
	_
	rwCount
	_
	rwGen
	_
	rwID
	_
	rwInside
	rwTrouble
	rwWriter
	rwDirty // the data is half written
	rwRoles // writers that have come
)

const rwSlots, rwPhase, rwWaiters, rwGens = 2, 1, 2, 3

// Registers.
const (
	rwSlot    = iota // a reader's own; a writer's to drain
	rwPending        // the low half that is named, plus 1
	rwSawCount
	rwSawGen
	rwSawLow
	rwDone    // a reader has been inside
	rwLocks   // who recovers is a writer, and keeps the lock
	rwDrained // looksEarly: has
)

// Steps.
const (
	rwStart = iota
	rwTakeSlot
	rwInherit
	rwInheritWake
	rwCountIn
	rwLook
	rwRead // inside
	rwLeave
	rwLeaveLast
	rwLeaveWake
	rwLeft
	rwWait
	rwPass
	rwSleep
	rwTakeDead
	rwNote
	rwReopen
	rwReopenWake
	rwNoteLate
	rwGiveBack
	rwLock
	rwClose
	rwDrain
	rwJudge
	rwDrop
	rwSleepDrain
	rwEnter
	rwWrite // inside
	rwWritten
	rwOpen
	rwOpenWake
	rwUnlock
)

func (v rwMutex) model() *fuzz.Model {
	num := func(name string) fuzz.Cell { return fuzz.Cell{Name: name} }
	id := func(name string) fuzz.Cell { return fuzz.Cell{Name: name, Kind: fuzz.ProcessID} }
	return &fuzz.Model{
		Name:      fmt.Sprintf("rwmutex of %d, %d writers, %d crashes", v.processes, v.writers, v.crashes),
		Processes: v.processes, Threads: 1, Crashes: v.crashes, GiveUps: v.giveUps,
		Cells: []fuzz.Cell{
			num("gate"), num("low 0"), num("low 1"), num("count 0"), num("count 1"), num("gen 0"), num("gen 1"),
			id("id 0"), id("id 1"), num("inside"), num("trouble"), id("writer"), num("dirty"), num("roles"),
		},
		Registers: []fuzz.Cell{
			num("slot"), num("pending"), num("saw count"), num("saw gen"), num("saw low"), num("done"), num("locks"), num("drained"),
		},
		Steps: []fuzz.Step{
			rwStart:       {Name: "come", Do: v.start},
			rwTakeSlot:    {Name: "take a slot", Do: v.takeSlot},
			rwInherit:     {Name: "drop what is in it", Do: v.inherit},
			rwInheritWake: {Name: "wake-op: clear WAITERS, wake all (slot)", Do: v.inheritWake, System: true},
			rwCountIn:     {Name: "count in", Do: v.countIn},
			rwLook:        {Name: "look at the gate", Do: v.look},
			rwRead:        {Name: "read", Do: v.read},
			rwLeave:       {Name: "count out", Do: v.leave},
			rwLeaveLast:   {Name: "count out, as the last", Do: v.leaveLast},
			rwLeaveWake:   {Name: "wake-op: clear WAITERS, wake all (last reader)", Do: v.leaveWake, System: true},
			rwLeft:        {Name: "is out", Do: v.left},
			rwWait:        {Name: "look whether to sleep at the gate", Do: v.wait},
			rwPass:        {Name: "wake-op: clear WAITERS, wake all (passing on)", Do: v.pass, System: true},
			rwSleep:       {Name: "futex wait (gate)", Do: v.sleep, System: true},
			rwTakeDead:    {Name: "take the dead writer's lock", Do: v.takeDead},
			rwNote:        {Name: "note the trouble", Do: v.note},
			rwReopen:      {Name: "open a dead writer's gate", Do: v.reopen},
			rwReopenWake:  {Name: "wake-op: clear WAITERS, wake all (recovery)", Do: v.reopenWake, System: true},
			rwNoteLate:    {Name: "note the trouble, at last", Do: v.noteLate},
			rwGiveBack:    {Name: "give the writers' lock back", Do: v.giveBack},
			rwLock:        {Name: "take the writers' lock", Do: v.lock},
			rwClose:       {Name: "close the gate", Do: v.close},
			rwDrain:       {Name: "look at a slot's count", Do: v.drain},
			rwJudge:       {Name: "is its process dead", Do: v.judge},
			rwDrop:        {Name: "drop the dead one's count", Do: v.drop},
			rwSleepDrain:  {Name: "futex wait (slot)", Do: v.sleepDrain, System: true},
			rwEnter:       {Name: "note that a writer is inside", Do: v.enter},
			rwWrite:       {Name: "write one half", Do: v.write},
			rwWritten:     {Name: "write the other half", Do: v.written},
			rwOpen:        {Name: "open the gate", Do: v.open},
			rwOpenWake:    {Name: "wake-op: clear WAITERS, wake all (gate)", Do: v.openWake, System: true},
			rwUnlock:      {Name: "give up the writers' lock", Do: v.unlock},
		},
		Exit: v.exit, Late: v.late, Timer: v.timer,
		Invariant: v.invariant,
	}
}

func (v rwMutex) gone(w *fuzz.World, p int) bool {
	if v.dropsDying {
		return w.Dying(p)
	}
	return w.FullyDead(p)
}

// wakeAll is the call that clears WAITERS and wakes all.
func (v rwMutex) wakeAll(w *fuzz.World, cell int) {
	w.Set(cell, w.Get(cell)&^rwWaiters)
	w.Wake(255, cell)
	w.SetReg(rwPending, 0)
}

func (v rwMutex) start(w *fuzz.World) {
	w.Goto(rwTakeSlot)
	if n := w.Get(rwRoles); n < v.writers {
		w.Set(rwRoles, n+1)
		w.Goto(rwLock)
	}
}

// Readers.

func (v rwMutex) takeSlot(w *fuzz.World) {
	for i := range rwSlots {
		if id := w.Get(rwID + i); id == 0 || w.FullyDead(id) {
			w.Set(rwID+i, w.Process())
			w.SetReg(rwSlot, i)
			w.Goto(rwInherit)
			if v.gateFirst || v.inheritsLate {
				w.Goto(rwCountIn)
			}
			if v.gateFirst {
				w.Goto(rwLook)
			}
			return
		}
	}
	w.Finish() // EAGAIN
}

func (v rwMutex) inherit(w *fuzz.World) {
	i := w.Reg(rwSlot)
	w.Set(rwGen+i, (w.Get(rwGen+i)+1)%rwGens)
	w.Set(rwCount+i, 0)
	w.Set(rwLow+i, w.Get(rwLow+i)|rwPhase)
	w.Goto(rwCountIn)
	if w.Get(rwLow+i)&rwWaiters != 0 {
		w.SetReg(rwPending, rwLow+i+1) // named before, which nobody can tell
		w.Goto(rwInheritWake)
	}
}

func (v rwMutex) inheritWake(w *fuzz.World) {
	v.wakeAll(w, rwLow+w.Reg(rwSlot))
	w.Goto(rwCountIn)
}

func (v rwMutex) countIn(w *fuzz.World) {
	i := w.Reg(rwSlot)
	w.Set(rwCount+i, w.Get(rwCount+i)+1)
	w.Goto(rwLook)
	if v.gateFirst {
		w.Goto(rwRead)
	}
}

func (v rwMutex) look(w *fuzz.World) {
	closed := w.Get(rwGate)&rwPhase != 0
	switch {
	case closed && v.gateFirst:
		w.Goto(rwWait)
	case closed:
		w.Goto(rwLeave)
	case v.gateFirst:
		w.Goto(rwCountIn)
	default:
		w.Goto(rwRead)
	}
}

func (v rwMutex) read(w *fuzz.World) {
	if w.Get(rwDirty) != 0 && w.Get(rwTrouble) == 0 {
		w.Fail("a reader got half written data without a word")
	}
	w.SetReg(rwDone, 1)
	w.Goto(rwLeave)
}

func (v rwMutex) last(w *fuzz.World) bool {
	i := w.Reg(rwSlot)
	return w.Get(rwCount+i) == 1 && w.Get(rwLow+i)&rwWaiters != 0
}

func (v rwMutex) leave(w *fuzz.World) {
	if v.last(w) {
		if !v.leaveUnnamed {
			w.SetReg(rwPending, rwLow+w.Reg(rwSlot)+1)
		}
		w.Goto(rwLeaveLast)
		return
	}
	v.countOut(w)
}

func (v rwMutex) countOut(w *fuzz.World) {
	i := w.Reg(rwSlot)
	if w.Get(rwCount+i) == 0 && !w.Dying(w.Process()) {
		w.Fail("a reader is told that it does not read")
		return
	}
	w.Set(rwCount+i, max(w.Get(rwCount+i)-1, 0))
	w.Goto(rwLeft)
}

func (v rwMutex) leaveLast(w *fuzz.World) {
	if !v.last(w) {
		w.SetReg(rwPending, 0)
		v.countOut(w)
		return
	}
	v.countOut(w)
	if i := w.Reg(rwSlot); !v.noPhase {
		w.Set(rwLow+i, w.Get(rwLow+i)|rwPhase)
	}
	w.Goto(rwLeaveWake)
}

func (v rwMutex) leaveWake(w *fuzz.World) {
	v.wakeAll(w, rwLow+w.Reg(rwSlot))
	w.Goto(rwLeft)
}

func (v rwMutex) left(w *fuzz.World) {
	if w.Reg(rwDone) != 0 {
		w.Finish()
		return
	}
	w.Goto(rwWait)
}

func (v rwMutex) wait(w *fuzz.World) {
	w.SetReg(rwPending, rwGate+1)
	bits := w.Get(rwGate)
	switch owner := w.Get(rwWriter); {
	case bits&rwPhase == 0:
		w.Goto(rwPass)
		if bits&rwWaiters == 0 || v.noPassing {
			w.SetReg(rwPending, 0)
			v.again(w)
		}
	case owner != 0 && w.FullyDead(owner) && !v.neverRecovers:
		w.Goto(rwTakeDead)
	default:
		w.Set(rwGate, bits|rwWaiters)
		w.Goto(rwSleep)
	}
}

func (v rwMutex) again(w *fuzz.World) {
	w.Goto(rwCountIn)
	if v.gateFirst {
		w.Goto(rwLook)
	}
}

func (v rwMutex) pass(w *fuzz.World) {
	v.wakeAll(w, rwGate)
	v.again(w)
}

func (v rwMutex) sleep(w *fuzz.World) {
	switch {
	case w.Wakeup() == fuzz.Cancelled:
		w.Finish()
	case w.Reg(rwSawLow) != 0: // awake again
		w.SetReg(rwSawLow, 0)
		w.Goto(rwWait)
	case w.Get(rwGate) == rwPhase|rwWaiters && (w.Get(rwWriter) == 0 || !w.FullyDead(w.Get(rwWriter))):
		w.SetReg(rwSawLow, 1)
		w.Sleep(rwSleep, rwGate)
	default:
		w.Goto(rwWait)
	}
}

// Recovery, by a reader at the gate or by the next writer.

func (v rwMutex) takeDead(w *fuzz.World) {
	if owner := w.Get(rwWriter); owner == 0 || !w.FullyDead(owner) {
		w.Goto(rwWait)
		return
	}
	w.Set(rwWriter, w.Process())
	v.recover(w)
}

func (v rwMutex) recover(w *fuzz.World) {
	w.Goto(rwNote)
	if v.opensFirst {
		w.SetReg(rwSawGen, w.Get(rwInside))
		w.Goto(rwReopen)
	}
}

func (v rwMutex) note(w *fuzz.World) {
	if w.Get(rwInside) != 0 && !v.noInside {
		w.Set(rwTrouble, 1)
	}
	w.Goto(rwReopen)
}

func (v rwMutex) reopen(w *fuzz.World) {
	w.SetReg(rwPending, rwGate+1)
	bits := w.Get(rwGate)
	w.Set(rwGate, bits&^rwPhase)
	w.Set(rwInside, 0)
	w.Goto(rwReopenWake)
	if bits&rwWaiters == 0 {
		w.SetReg(rwPending, 0)
		v.reopened(w)
	}
}

func (v rwMutex) reopenWake(w *fuzz.World) {
	v.wakeAll(w, rwGate)
	v.reopened(w)
}

func (v rwMutex) reopened(w *fuzz.World) {
	w.Goto(rwGiveBack)
	if v.opensFirst {
		w.Goto(rwNoteLate)
	}
}

func (v rwMutex) noteLate(w *fuzz.World) {
	if w.Reg(rwSawGen) != 0 {
		w.Set(rwTrouble, 1)
	}
	w.SetReg(rwSawGen, 0)
	w.Goto(rwGiveBack)
}

func (v rwMutex) giveBack(w *fuzz.World) {
	if w.Reg(rwLocks) != 0 {
		w.Goto(rwClose) // as a writer, it keeps it
		return
	}
	w.Set(rwWriter, 0)
	w.Goto(rwWait)
}

// Writers.

func (v rwMutex) lock(w *fuzz.World) {
	owner := w.Get(rwWriter)
	if owner != 0 && !w.FullyDead(owner) {
		return // it waits, by a protocol of its own
	}
	w.Set(rwWriter, w.Process())
	w.SetReg(rwLocks, 1)
	switch {
	case owner != 0:
		v.recover(w)
	case v.looksEarly:
		w.Goto(rwDrain)
	default:
		w.Goto(rwClose)
	}
}

func (v rwMutex) close(w *fuzz.World) {
	w.Set(rwGate, w.Get(rwGate)|rwPhase)
	w.Goto(rwDrain)
	if v.looksEarly && w.Reg(rwDrained) != 0 {
		w.Goto(rwEnter)
	}
}

func (v rwMutex) drain(w *fuzz.World) {
	i := w.Reg(rwSlot)
	switch {
	case i == rwSlots:
		w.SetReg(rwSlot, 0)
		w.Goto(rwEnter)
		if v.looksEarly && w.Reg(rwDrained) == 0 {
			w.SetReg(rwDrained, 1)
			w.Goto(rwClose)
		}
	case w.Get(rwCount+i) == 0:
		w.SetReg(rwPending, 0)
		w.SetReg(rwSlot, i+1)
	default:
		w.SetReg(rwPending, rwLow+i+1)
		w.SetReg(rwSawCount, w.Get(rwCount+i))
		w.SetReg(rwSawGen, w.Get(rwGen+i))
		w.SetReg(rwSawLow, w.Get(rwLow+i))
		w.Goto(rwJudge)
	}
}

// unchanged is the comparison of the two CAS that follow.
func (v rwMutex) unchanged(w *fuzz.World) bool {
	i := w.Reg(rwSlot)
	return w.Get(rwCount+i) == w.Reg(rwSawCount) && w.Get(rwLow+i) == w.Reg(rwSawLow) &&
		(v.dropsAny || w.Get(rwGen+i) == w.Reg(rwSawGen))
}

func (v rwMutex) forget(w *fuzz.World) {
	w.SetReg(rwSawCount, 0)
	w.SetReg(rwSawGen, 0)
	w.SetReg(rwSawLow, 0)
}

func (v rwMutex) judge(w *fuzz.World) {
	i := w.Reg(rwSlot)
	if v.gone(w, w.Get(rwID+i)) {
		w.Goto(rwDrop)
		return
	}
	w.Goto(rwDrain)
	if v.unchanged(w) {
		w.Set(rwLow+i, rwWaiters)
		w.Goto(rwSleepDrain)
	}
	v.forget(w)
}

func (v rwMutex) drop(w *fuzz.World) {
	if i := w.Reg(rwSlot); v.unchanged(w) {
		w.Set(rwCount+i, 0)
		w.Set(rwLow+i, w.Get(rwLow+i)|rwPhase)
	}
	v.forget(w)
	w.Goto(rwDrain)
}

func (v rwMutex) sleepDrain(w *fuzz.World) {
	i := w.Reg(rwSlot)
	switch {
	case w.Wakeup() == fuzz.Cancelled:
		v.forget(w)
		w.SetReg(rwPending, 0)
		w.SetReg(rwSlot, 0)
		w.Goto(rwOpen)
	case w.Reg(rwSawLow) != 0: // awake again
		v.forget(w)
		w.Goto(rwDrain)
	case w.Get(rwLow+i) == rwWaiters && (w.Get(rwCount+i) == 0 || !w.FullyDead(w.Get(rwID+i))):
		w.SetReg(rwSawLow, 1)
		w.Sleep(rwSleepDrain, rwLow+i)
	default:
		w.Goto(rwDrain)
	}
}

func (v rwMutex) enter(w *fuzz.World) {
	w.Set(rwInside, 1)
	w.Goto(rwWrite)
}

func (v rwMutex) write(w *fuzz.World) {
	if w.Get(rwDirty) != 0 && w.Get(rwTrouble) == 0 {
		w.Fail("a writer got half written data without a word")
	}
	w.Set(rwDirty, 1)
	w.Goto(rwWritten)
}

func (v rwMutex) written(w *fuzz.World) {
	w.Set(rwDirty, 0)
	w.Set(rwTrouble, 0) // MarkConsistent
	w.Goto(rwOpen)
}

func (v rwMutex) open(w *fuzz.World) {
	bits := w.Get(rwGate)
	if bits&rwWaiters != 0 && w.Reg(rwPending) == 0 && !v.openUnnamed {
		w.SetReg(rwPending, rwGate+1)
		return // and opens in its next step
	}
	w.Set(rwGate, bits&^rwPhase)
	w.Set(rwInside, 0)
	w.Goto(rwOpenWake)
	if bits&rwWaiters == 0 {
		w.SetReg(rwPending, 0)
		w.Goto(rwUnlock)
	}
}

func (v rwMutex) openWake(w *fuzz.World) {
	v.wakeAll(w, rwGate)
	w.Goto(rwUnlock)
}

func (v rwMutex) unlock(w *fuzz.World) {
	w.Set(rwWriter, 0)
	w.Finish()
}

// exit is the kernel's part, and the look-around of those who wait for this
// process, whose only thread it is.
func (v rwMutex) exit(w *fuzz.World) {
	if n := w.Reg(rwPending); n != 0 {
		w.Wake(1, n-1)
	}
	for i := range rwSlots {
		if w.Get(rwID+i) == w.Process() && w.Get(rwCount+i) != 0 {
			w.Wake(255, rwLow+i)
		}
	}
	if w.Get(rwWriter) == w.Process() && w.Get(rwGate)&rwPhase != 0 {
		w.Wake(255, rwGate)
	}
}

var errReaderAndWriter = errors.New("a reader and a writer, or two writers, that can still go on are inside together")

func (v rwMutex) invariant(w *fuzz.World) error {
	readers, writers := 0, 0
	for p := range v.processes {
		switch w.At(p, 0) {
		case rwRead:
			readers++
		case rwWrite, rwWritten:
			writers++
		}
	}
	if writers > 1 || writers == 1 && readers > 0 {
		return errReaderAndWriter
	}
	return nil
}
