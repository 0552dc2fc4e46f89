package fuzz_test

import (
	"fmt"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// ringPlain is a ring's writer that goes over to commits without a fence, and
// the reader who sleeps, as package shm has them (barrier.go). What the writer
// stores plainly stands in its CPU's buffer until that drains, by itself, by a
// locked instruction of its own, or by the reader's membarrier.
type ringPlain struct {
	messages int

	// Mistakes.
	noFence   bool // the reader does not make up for it
	earlyLook bool // at whether he must, before he stores sleeps
	early     bool // and does it before he stores sleeps
	lateWord  bool // the writer says so after its first plain commit
}

// Cells: what all CPUs see, the writer's buffer, and who has which part.
const (
	rpTail = iota
	rpBuffer
	rpPlain
	rpSleeps
	rpParts
)

// Registers.
const (
	rpCount    = iota // messages sent, or received
	rpIsPlain         // the writer's own
	rpThen            // where the writer goes on when its buffer has drained
	rpMustDoIt        // the reader has found plain set
)

const (
	rpPick = iota
	rpSend
	rpSayPlain
	rpDrain
	rpLook
	rpWake
	rpRecv
	rpSetSleeps
	rpLoadPlain
	rpFence
	rpLookAgain
	rpWait
)

func (v ringPlain) model() *fuzz.Model {
	return &fuzz.Model{
		Name: fmt.Sprintf("ring without fences, %d messages", v.messages), Processes: 2, Threads: 1,
		Cells: []fuzz.Cell{
			rpTail: {Name: "tail"}, rpBuffer: {Name: "tail in the writer's buffer"}, rpPlain: {Name: "writerPlain"},
			rpSleeps: {Name: "readerSleeps"}, rpParts: {Name: "parts"},
		},
		Registers: []fuzz.Cell{
			rpCount: {Name: "count"}, rpIsPlain: {Name: "plain"}, rpThen: {Name: "then"}, rpMustDoIt: {Name: "must fence"},
		},
		Steps: []fuzz.Step{
			rpPick:      {Name: "choose a part", Do: v.pick},
			rpSend:      {Name: "commit: store tail", Do: v.send},
			rpSayPlain:  {Name: "goPlain: store writerPlain", Do: v.sayPlain},
			rpDrain:     {Name: "the writer's buffer drains", Do: v.drain},
			rpLook:      {Name: "wakeEnd: load readerSleeps", Do: v.look},
			rpWake:      {Name: "wakeSleeper: futex wake", Do: v.wake, System: true},
			rpRecv:      {Name: "Recv: load tail", Do: v.recv},
			rpSetSleeps: {Name: "waitEnd: store sleeps", Do: v.setSleeps},
			rpLoadPlain: {Name: "settle: load writerPlain", Do: v.loadPlain},
			rpFence:     {Name: "settle: membarrier", Do: v.fence, System: true},
			rpLookAgain: {Name: "waitEnd: load tail", Do: v.lookAgain},
			rpWait:      {Name: "waitEnd: futex wait", Do: v.wait, System: true},
		},
	}
}

func (v ringPlain) pick(w *fuzz.World) {
	w.Goto(rpRecv)
	if w.Get(rpParts) == 0 {
		w.Goto(rpSend)
	}
	w.Set(rpParts, w.Get(rpParts)+1)
}

// then is the writer's next step, before which its buffer may drain.
func (v ringPlain) then(w *fuzz.World, step int) {
	w.Goto(step)
	if w.Get(rpBuffer) != w.Get(rpTail) && w.Choose(2) == 1 {
		w.SetReg(rpThen, step)
		w.Goto(rpDrain)
	}
}

func (v ringPlain) drain(w *fuzz.World) {
	w.Set(rpTail, w.Get(rpBuffer))
	w.Goto(w.Reg(rpThen))
	if w.Reg(rpCount) == v.messages && w.Reg(rpThen) == rpSend {
		w.Finish()
	}
}

func (v ringPlain) send(w *fuzz.World) {
	switch {
	case w.Reg(rpCount) == v.messages:
		w.SetReg(rpThen, rpSend)
		w.Goto(rpDrain)
		return
	case w.Reg(rpIsPlain) == 0 && w.Choose(2) == 1:
		w.SetReg(rpIsPlain, 1)
		if !v.lateWord {
			w.Goto(rpSayPlain)
			return
		}
	}
	w.SetReg(rpCount, w.Reg(rpCount)+1)
	w.Set(rpBuffer, w.Reg(rpCount))
	if w.Reg(rpIsPlain) == 0 {
		w.Set(rpTail, w.Reg(rpCount))
	}
	v.then(w, rpLook)
}

// sayPlain has a fence.
func (v ringPlain) sayPlain(w *fuzz.World) {
	w.Set(rpTail, w.Get(rpBuffer))
	w.Set(rpPlain, 1)
	w.Goto(rpSend)
}

func (v ringPlain) look(w *fuzz.World) {
	if w.Get(rpSleeps) != 0 { // a swap, which has a fence
		w.Set(rpTail, w.Get(rpBuffer))
		w.Set(rpSleeps, 0)
		w.Goto(rpWake)
		return
	}
	v.goOn(w)
}

func (v ringPlain) goOn(w *fuzz.World) {
	if v.lateWord && w.Reg(rpIsPlain) != 0 && w.Get(rpPlain) == 0 {
		w.Goto(rpSayPlain)
		return
	}
	v.then(w, rpSend)
}

func (v ringPlain) wake(w *fuzz.World) {
	w.Wake(1, rpSleeps)
	v.goOn(w)
}

func (v ringPlain) recv(w *fuzz.World) {
	w.SetReg(rpMustDoIt, 0)
	w.SetReg(rpCount, w.Get(rpTail))
	switch {
	case w.Reg(rpCount) == v.messages:
		w.Finish()
	case v.earlyLook || v.early:
		w.Goto(rpLoadPlain)
	default:
		w.Goto(rpSetSleeps)
	}
}

func (v ringPlain) setSleeps(w *fuzz.World) {
	w.Set(rpSleeps, 1)
	switch {
	case v.early:
		w.Goto(rpLookAgain)
	case v.earlyLook && w.Reg(rpMustDoIt) != 0:
		w.Goto(rpFence)
	case v.earlyLook:
		w.Goto(rpLookAgain)
	default:
		w.Goto(rpLoadPlain)
	}
}

func (v ringPlain) loadPlain(w *fuzz.World) {
	w.SetReg(rpMustDoIt, w.Get(rpPlain))
	switch {
	case v.earlyLook:
		w.Goto(rpSetSleeps)
	case w.Reg(rpMustDoIt) != 0 && !v.noFence:
		w.Goto(rpFence)
	case v.early:
		w.Goto(rpSetSleeps)
	default:
		w.Goto(rpLookAgain)
	}
}

func (v ringPlain) fence(w *fuzz.World) {
	w.Set(rpTail, w.Get(rpBuffer))
	w.Goto(rpLookAgain)
	if v.early {
		w.Goto(rpSetSleeps)
	}
}

func (v ringPlain) lookAgain(w *fuzz.World) {
	w.Goto(rpWait)
	if w.Get(rpTail) != w.Reg(rpCount) {
		w.Set(rpSleeps, 0)
		w.Goto(rpRecv)
	}
}

func (v ringPlain) wait(w *fuzz.World) {
	if w.Get(rpSleeps) != 0 {
		w.Sleep(rpRecv, rpSleeps)
		return
	}
	w.Goto(rpRecv)
}

func TestRingPlainModel(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		holds(t, ringPlain{messages: n}.model(), 0)
	}
}

func TestRingPlainMistakes(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    ringPlain
	}{
		{"no membarrier", ringPlain{messages: 2, noFence: true}},
		{"membarrier before the store of sleeps", ringPlain{messages: 2, early: true}},
		{"plain is looked at before the store of sleeps", ringPlain{messages: 2, earlyLook: true}},
		{"plain is stored after a commit without a fence", ringPlain{messages: 2, lateWord: true}},
	} {
		t.Run(row.name, func(t *testing.T) { caught(t, row.v.model(), fuzz.ErrStuck) })
	}
}
