package fuzz_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// value is the Value of package shm with more than a word: two copies, of two
// bytes each here, and a word that says which one counts. The first processes
// to move are writers, the others readers. The writers' lock is robust: its
// model is another one, here it is given on when its owner is dead.
type value struct {
	processes, writers, crashes int

	late fuzz.Late

	// Mistakes.
	unchecked bool // the reader does not look at the word again
	lenient   bool // it lets pass that a second writer has begun
	unmarked  bool // the writer does not say that it begins
	inPlace   bool // it writes the copy in use
	early     bool // it commits, then writes
	oddStart  bool // it takes a dead writer's mark for a commit
	eager     bool // the lock is given on before its owner is quite dead
}

// Shared cells: the object, then what only the model knows.
const (
	vlWord = iota
	vlMutex
	vlCopy // four cells: two copies of two bytes
	_
	_
	_
	vlPicked    // processes that have a part
	vlDrafts    // values that somebody began to write; each is a number of its own
	vlCommitted // those that were committed, as bits
	vlLast      // the last of them
)

// Registers.
const (
	vlSeq = iota
	vlLow
	vlHigh
	vlSince // the last value committed when Load was called
	vlDraft
)

// Steps, named for the functions of shm/value.go.
const (
	vlPick = iota
	vlLock
	vlBeginLoad
	vlBegin
	vlWriteLow
	vlWriteHigh
	vlCommit
	vlUnlock
	vlLoad
	vlReadLow
	vlReadHigh
	vlCheck
	vlTryLock
	vlHeldLoad
	vlHeldLow
	vlHeldHigh
	vlHeldUnlock
)

var errMixture = errors.New("a mixture")

func (v value) model() *fuzz.Model {
	return &fuzz.Model{
		Name:      fmt.Sprintf("value, %d processes, %d writers, %d crashes", v.processes, v.writers, v.crashes),
		Processes: v.processes, Threads: 1, Crashes: v.crashes,
		Cells: []fuzz.Cell{
			vlWord: {Name: "word"}, vlMutex: {Name: "lock", Kind: fuzz.ProcessID},
			vlCopy: {Name: "copy 0 low"}, {Name: "copy 0 high"}, {Name: "copy 1 low"}, {Name: "copy 1 high"},
			vlPicked: {Name: "picked"}, vlDrafts: {Name: "drafts"},
			vlCommitted: {Name: "committed", Init: 1}, vlLast: {Name: "last"},
		},
		Registers: []fuzz.Cell{
			vlSeq: {Name: "seq"}, vlLow: {Name: "low"}, vlHigh: {Name: "high"},
			vlSince: {Name: "since"}, vlDraft: {Name: "draft"},
		},
		Steps: []fuzz.Step{
			vlPick:       {Name: "choose a part", Do: v.pick},
			vlLock:       {Name: "lock", Do: v.lock},
			vlBeginLoad:  {Name: "begin: load the word", Do: v.beginLoad},
			vlBegin:      {Name: "begin: mark the word", Do: v.begin},
			vlWriteLow:   {Name: "commit: write low", Do: v.writeLow},
			vlWriteHigh:  {Name: "commit: write high", Do: v.writeHigh},
			vlCommit:     {Name: "commit: store the word", Do: v.commit},
			vlUnlock:     {Name: "unlock", Do: v.unlock},
			vlLoad:       {Name: "load: load the word", Do: v.load},
			vlReadLow:    {Name: "load: read low", Do: v.readLow},
			vlReadHigh:   {Name: "load: read high", Do: v.readHigh},
			vlCheck:      {Name: "load: load the word again", Do: v.check},
			vlTryLock:    {Name: "load: try the lock", Do: v.tryLock},
			vlHeldLoad:   {Name: "load: load the word, locked", Do: v.heldLoad},
			vlHeldLow:    {Name: "load: read low, locked", Do: v.readLow},
			vlHeldHigh:   {Name: "load: read high, locked", Do: v.readHigh},
			vlHeldUnlock: {Name: "load: unlock", Do: v.heldUnlock},
		},
		Late:      v.late,
		Invariant: v.invariant,
	}
}

func (v value) pick(w *fuzz.World) {
	n := w.Get(vlPicked)
	w.Goto(vlLoad)
	if n < v.writers {
		w.Set(vlPicked, n+1)
		w.Goto(vlLock)
	}
}

// take is what the robust lock promises.
func (v value) take(w *fuzz.World) bool {
	owner := w.Get(vlMutex)
	if owner != 0 && !w.FullyDead(owner) && !(v.eager && w.Dying(owner)) {
		return false
	}
	w.Set(vlMutex, w.Process())
	return true
}

func (v value) lock(w *fuzz.World) {
	w.Goto(vlLock)
	if v.take(w) {
		w.Goto(vlBeginLoad)
	}
}

func (v value) beginLoad(w *fuzz.World) {
	seq := w.Get(vlWord) >> 1
	if v.oddStart {
		seq = (w.Get(vlWord) + 1) >> 1
	}
	w.SetReg(vlSeq, seq)
	w.Goto(vlBegin)
}

func (v value) begin(w *fuzz.World) {
	w.Set(vlDrafts, w.Get(vlDrafts)+1)
	w.SetReg(vlDraft, w.Get(vlDrafts))
	if !v.unmarked {
		w.Set(vlWord, 2*w.Reg(vlSeq)+1)
	}
	w.Goto(vlWriteLow)
	if v.early {
		w.Goto(vlCommit)
	}
}

// draft is the copy that a writer writes.
func (v value) draft(w *fuzz.World) int {
	if v.inPlace {
		return vlCopy + w.Reg(vlSeq)%2*2
	}
	return vlCopy + (w.Reg(vlSeq)+1)%2*2
}

func (v value) writeLow(w *fuzz.World) {
	w.Set(v.draft(w), w.Reg(vlDraft))
	w.Goto(vlWriteHigh)
}

func (v value) writeHigh(w *fuzz.World) {
	w.Set(v.draft(w)+1, w.Reg(vlDraft))
	w.Goto(vlCommit)
	if v.early {
		w.Goto(vlUnlock)
	}
}

func (v value) commit(w *fuzz.World) {
	w.Set(vlWord, 2*w.Reg(vlSeq)+2)
	w.Set(vlCommitted, w.Get(vlCommitted)|1<<w.Reg(vlDraft))
	w.Set(vlLast, w.Reg(vlDraft))
	w.Goto(vlUnlock)
	if v.early {
		w.Goto(vlWriteLow)
	}
}

func (v value) unlock(w *fuzz.World) {
	if w.Get(vlMutex) == w.Process() {
		w.Set(vlMutex, 0)
	}
	w.Finish()
}

func (v value) load(w *fuzz.World) {
	w.SetReg(vlSeq, w.Get(vlWord))
	w.SetReg(vlSince, w.Get(vlLast))
	w.Goto(vlReadLow)
}

func (v value) heldLoad(w *fuzz.World) {
	v.load(w)
	w.Goto(vlHeldLow)
}

func (v value) readLow(w *fuzz.World) {
	next := vlReadHigh
	if w.At(w.P, w.T) == vlHeldLow {
		next = vlHeldHigh
	}
	w.SetReg(vlLow, w.Get(vlCopy+w.Reg(vlSeq)>>1%2*2))
	w.Goto(next)
}

func (v value) readHigh(w *fuzz.World) {
	next := vlCheck
	if w.At(w.P, w.T) == vlHeldHigh {
		next = vlHeldUnlock
	}
	w.SetReg(vlHigh, w.Get(vlCopy+w.Reg(vlSeq)>>1%2*2+1))
	w.Goto(next)
}

// passed is how far the word may go on while the copy is read.
func (v value) passed() int {
	switch {
	case v.unchecked:
		return 255
	case v.lenient:
		return 3
	}
	return 2
}

func (v value) check(w *fuzz.World) {
	if w.Get(vlWord)-w.Reg(vlSeq)&^1 <= v.passed() {
		v.judge(w)
		w.Finish()
		return
	}
	w.Goto([...]int{vlLoad, vlTryLock}[w.Choose(2)])
}

func (v value) tryLock(w *fuzz.World) {
	w.Goto(vlLoad)
	if v.take(w) {
		w.Goto(vlHeldLoad)
	}
}

func (v value) heldUnlock(w *fuzz.World) {
	v.judge(w)
	v.unlock(w)
}

// judge looks at what a Load returns: a value that was committed, and not
// before the last one at the time of the call.
func (v value) judge(w *fuzz.World) {
	low, high := w.Reg(vlLow), w.Reg(vlHigh)
	switch {
	case low != high:
		w.Fail("%w: %d and %d", errMixture, low, high)
	case w.Get(vlCommitted)>>low&1 == 0:
		w.Fail("%w: %d was never committed", errMixture, low)
	case low < w.Reg(vlSince):
		w.Fail("%w: %d is older than %d", errMixture, low, w.Reg(vlSince))
	}
}

// invariant: whoever is killed at whatever moment, the copy in use is the last
// value that was committed.
func (v value) invariant(w *fuzz.World) error {
	at := vlCopy + w.Get(vlWord)>>1%2*2
	if low, high, last := w.Get(at), w.Get(at+1), w.Get(vlLast); low != last || high != last {
		return fmt.Errorf("%w: in use are %d and %d, committed was %d", errMixture, low, high, last)
	}
	return nil
}

func TestValueModel(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    value
		size int
	}{
		{"2,1,0", value{processes: 2, writers: 1}, 0},
		{"3,2,1", value{processes: 3, writers: 2, crashes: 1}, 0},
		{"3,2,2,late", value{processes: 3, writers: 2, crashes: 2, late: late}, 0},
		{"4,3,2", value{processes: 4, writers: 3, crashes: 2}, 0},
		{"4,3,2,late", value{processes: 4, writers: 3, crashes: 2, late: late}, 0},
		{"5,3,2,late", value{processes: 5, writers: 3, crashes: 2, late: late}, 2},
		{"5,4,3,late", value{processes: 5, writers: 4, crashes: 3, late: late}, 1},
	} {
		t.Run(row.name, func(t *testing.T) { holds(t, row.v.model(), row.size) })
	}
}

func TestValueMistakes(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    value
	}{
		{"no second look", value{processes: 3, writers: 2, unchecked: true}},
		{"a second writer may have begun", value{processes: 3, writers: 2, lenient: true}},
		{"no mark before writing", value{processes: 4, writers: 2, unmarked: true}},
		{"the copy in use is written", value{processes: 2, writers: 1, inPlace: true}},
		{"commit, then write", value{processes: 2, writers: 1, early: true}},
		{"a dead writer's mark taken for a commit", value{processes: 3, writers: 2, crashes: 1, oddStart: true}},
		{"the lock of one who is not quite dead", value{processes: 3, writers: 2, crashes: 1, late: fuzz.LateAny, eager: true}},
	} {
		t.Run(row.name, func(t *testing.T) { caught(t, row.v.model(), errMixture) })
	}
}
