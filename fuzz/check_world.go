package fuzz

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// World is one state of a [Model], as the model's functions see it. It is theirs
// while they run, one at a time.
//
// A method's p and t count from 0, as P and T do. A process or thread that a cell
// names is counted from 1, and 0 is nobody: what Process and Thread return, and
// Dying and FullyDead take. Traces call the first thread of the first process
// P1.T1.
type World struct {
	// P and T are the process and thread whose step it is; in Invariant, Final
	// and Faults they mean nothing.
	P, T int

	m       *Model
	s       []byte // the state: see newWorld
	size    int
	procAt  int // where process 0 begins
	procLen int
	thrAt   int // where thread 0 begins within a process
	thrLen  int

	// One transition is worked out by running a step once for each sequence
	// of answers to Choose.
	picks, arity []int
	asked        int
	failed       error
	aside        bool   // this transition is no way out
	step         string // its name
	scratch      []byte
	acts         actions
}

// GuardianThread is World.T in Model.Exit for the guardian.
const GuardianThread = -1

const finishedPC = 255

// Bytes of a state: budgets, cells, then for each process its life, private
// memory and threads; for each thread pc, life, the cells that it sleeps on,
// registers.
const (
	offCrashes, offGiveUps, offFaults, offCells = 0, 1, 2, 3
	offPC, offLife, offSleep, offRegs           = 0, 1, 2, 3

	procDying, guardianDead = 1, 2 // a process's life
	threadDead              = 0x80 // a thread's life; the low bits are a Wakeup
	bounded                 = 0x40 // it sleeps by SleepBounded
)

func newWorld(m *Model) *World {
	if m.Processes < 1 || m.Threads < 1 || m.Processes*m.Threads > 64 {
		panic(fmt.Sprintf("fuzz: model of %d processes × %d threads: want at least 1 each, at most 64 threads", m.Processes, m.Threads))
	}
	if len(m.Steps) == 0 || len(m.Steps) > finishedPC {
		panic(fmt.Sprintf("fuzz: model with %d steps: want 1 to %d", len(m.Steps), finishedPC))
	}
	for _, steps := range [][]Step{m.Steps, m.Faults} {
		for i, step := range steps {
			if step.Do == nil {
				panic(fmt.Sprintf("fuzz: step %d of a model, %q, has no Do", i, step.Name))
			}
		}
	}
	w := &World{m: m}
	w.thrLen = offRegs + len(m.Registers)
	w.thrAt = 1 + len(m.Private)
	w.procLen = w.thrAt + m.Threads*w.thrLen
	w.procAt = offCells + len(m.Cells)
	w.size = w.procAt + m.Processes*w.procLen
	w.scratch = make([]byte, w.size)
	w.newActions()
	return w
}

func (w *World) initial() []byte {
	s := make([]byte, w.size)
	s[offCrashes], s[offGiveUps], s[offFaults] = small(w.m.Crashes), small(w.m.GiveUps), small(w.m.MaxFaults)
	for i, c := range w.m.Cells {
		s[offCells+i] = c.Init
	}
	for p := range w.m.Processes {
		for i, c := range w.m.Private {
			s[w.proc(p)+1+i] = c.Init
		}
		for t := range w.m.Threads {
			for i, c := range w.m.Registers {
				s[w.thread(p, t)+offRegs+i] = c.Init
			}
		}
	}
	return s
}

func small(v int) byte {
	if v < 0 || v > math.MaxUint8 {
		panic(fmt.Sprintf("fuzz: %d does not fit a cell: want 0 to 255", v))
	}
	return byte(v)
}

func (w *World) proc(p int) int      { return w.procAt + p*w.procLen }
func (w *World) thread(p, t int) int { return w.procAt + p*w.procLen + w.thrAt + t*w.thrLen }
func (w *World) self() []byte        { return w.s[w.thread(w.P, w.T):] }

// Process is the name of this process for cells of kind ProcessID.
func (w *World) Process() int { return w.P + 1 }

// Thread is the name of this thread for cells of kind ThreadID.
func (w *World) Thread() int { return w.P*w.m.Threads + w.T + 1 }

// The bytes of a state that methods may touch, so that a wrong index fails.
func (w *World) cells() []byte      { return w.s[offCells:w.procAt] }
func (w *World) privates() []byte   { return w.s[w.proc(w.P)+1:][:len(w.m.Private)] }
func (w *World) regs() []byte       { return w.self()[offRegs:w.thrLen] }
func (w *World) of(p, t int) []byte { return w.s[w.checked(p, t):][:w.thrLen] }

// checked is thread for a p and t that a model gives.
func (w *World) checked(p, t int) int {
	if uint(p) >= uint(w.m.Processes) || uint(t) >= uint(w.m.Threads) {
		panic(fmt.Sprintf("thread %d of process %d: there are %d processes × %d threads, counted from 0", t, p, w.m.Processes, w.m.Threads))
	}
	return w.thread(p, t)
}

// Get reads shared cell c.
func (w *World) Get(c int) int { return int(w.cells()[c]) }

// Set writes shared cell c.
func (w *World) Set(c int, v int) { w.cells()[c] = small(v) }

// Private reads cell c of this process's own memory.
func (w *World) Private(c int) int { return int(w.privates()[c]) }

// SetPrivate writes cell c of this process's own memory.
func (w *World) SetPrivate(c int, v int) { w.privates()[c] = small(v) }

// Reg reads register r of this thread.
func (w *World) Reg(r int) int { return int(w.regs()[r]) }

// SetReg writes register r of this thread.
func (w *World) SetReg(r int, v int) { w.regs()[r] = small(v) }

// Goto says which step comes next. A step that calls neither Goto, Sleep nor
// Finish is tried again.
func (w *World) Goto(step int) {
	if uint(step) >= uint(len(w.m.Steps)) {
		panic(fmt.Sprintf("Goto step %d of %d, counted from 0", step, len(w.m.Steps)))
	}
	w.self()[offPC] = byte(step)
}

// Finish ends this thread's program.
func (w *World) Finish() {
	th := w.self()[:w.thrLen]
	clear(th)
	th[offPC] = finishedPC
}

// Sleep puts this thread to sleep on one or more of the first eight shared
// cells; step comes when it is awake again. The comparison that the kernel
// makes first is the caller's to make, in the same step.
func (w *World) Sleep(step int, cells ...int) {
	w.Goto(step)
	for _, c := range cells {
		if uint(c) >= uint(min(len(w.m.Cells), 8)) {
			panic(fmt.Sprintf("sleep on cell %d of %d: want one of the first 8", c, len(w.m.Cells)))
		}
		w.self()[offSleep] |= 1 << c
	}
}

// SleepBounded is Sleep that may end with TimedOut, also where Model.Timer says
// nothing of all the others.
func (w *World) SleepBounded(step int, cells ...int) {
	w.Sleep(step, cells...)
	w.self()[offLife] = bounded
}

// Wake wakes up to n threads that sleep on cell c, any of them, and returns
// how many it woke. A thread of a dying process can be among them.
func (w *World) Wake(n, c int) int {
	var buf [64]int
	asleep := buf[:0]
	for p := range w.m.Processes {
		for t := range w.m.Threads {
			if at := w.thread(p, t); w.s[at+offSleep]&(1<<c) != 0 {
				asleep = append(asleep, at)
			}
		}
	}
	woken := 0
	for ; woken < n && len(asleep) > 0; woken++ {
		i := 0
		if n-woken < len(asleep) {
			i = w.Choose(len(asleep))
		}
		w.s[asleep[i]+offSleep], w.s[asleep[i]+offLife] = 0, byte(Woken)
		asleep = slices.Delete(asleep, i, i+1)
	}
	return woken
}

// Wakeup tells, in the step after a sleep, how that ended.
func (w *World) Wakeup() Wakeup { return Wakeup(w.self()[offLife] &^ threadDead) }

// Choose returns a number below n; Check tries all.
func (w *World) Choose(n int) int {
	if w.asked == len(w.picks) {
		w.picks = append(w.picks, 0)
		w.arity = append(w.arity, n)
	}
	w.asked++
	return w.picks[w.asked-1]
}

// GiveUp reports whether this thread gives up here: Check tries both as long
// as Model.GiveUps allows.
func (w *World) GiveUp() bool {
	if w.s[offGiveUps] == 0 || w.Choose(2) == 0 {
		return false
	}
	w.s[offGiveUps]--
	w.aside = true
	return true
}

// Fail says that this step must never have happened.
func (w *World) Fail(format string, args ...any) { w.failed = fmt.Errorf(format, args...) }

// life is that of the process of a name.
func (w *World) life(process int) byte {
	w.checked(process-1, 0)
	return w.s[w.proc(process-1)]
}

// Dying reports whether the process of that name was killed.
func (w *World) Dying(process int) bool {
	return process == 0 || w.life(process)&procDying != 0
}

// FullyDead reports whether the process of that name was killed and all of its
// threads have ended too. Nobody (0) is fully dead.
func (w *World) FullyDead(process int) bool {
	if process == 0 {
		return true
	}
	if w.life(process) != procDying|guardianDead {
		return false
	}
	for t := range w.m.Threads {
		if !w.Gone(process-1, t) {
			return false
		}
	}
	return true
}

// Gone reports whether thread t of process p has ended by its process's death.
func (w *World) Gone(p, t int) bool { return w.of(p, t)[offLife]&threadDead != 0 }

// At returns the step before which thread t of process p stands, or -1 if it is
// gone or has finished.
func (w *World) At(p, t int) int {
	if pc := w.of(p, t)[offPC]; pc != finishedPC && !w.Gone(p, t) {
		return int(pc)
	}
	return -1
}

// Asleep reports whether thread t of process p sleeps before the step that At
// returns.
func (w *World) Asleep(p, t int) bool { return w.of(p, t)[offSleep] != 0 }

// RegOf reads register r of thread t of process p.
func (w *World) RegOf(p, t, r int) int { return int(w.of(p, t)[offRegs:][r]) }

// show makes s the state that the accessors read.
func (w *World) show(s []byte) { w.s, w.P, w.T = s, 0, 0 }

// finished reports whether nobody has anything left to do.
func (w *World) finished() bool {
	for p := range w.m.Processes {
		dying := w.s[w.proc(p)]&procDying != 0
		if dying && !w.FullyDead(p+1) {
			return false
		}
		for t := 0; t < w.m.Threads && !dying; t++ {
			if w.s[w.thread(p, t)+offPC] != finishedPC {
				return false
			}
		}
	}
	return true
}

func (w *World) judge() error {
	var err error
	if w.m.Invariant != nil {
		err = w.m.Invariant(w)
	}
	if w.m.Final != nil && w.finished() {
		err = errors.Join(err, w.m.Final(w))
	}
	return err
}
