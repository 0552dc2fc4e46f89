package fuzz

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Model is a protocol between processes, written down small enough that
// [Check] can try every order in which its steps may happen.
//
// There are Processes processes that all run the same program on Threads
// threads each. Memory is bytes: Cells are shared by all processes, Private
// belongs to one process and is shared by its threads, Registers belong to
// one thread. A thread starts at Steps[0]; each step is atomic and says what
// follows by [World.Goto], [World.Sleep] or [World.Finish].
//
// Processes are alike, and so are the threads of one: Check looks at one
// state for all their permutations. It can do so only if a byte that names a
// process or a thread is declared as such by the [Kind] of its Cell.
type Model struct {
	Name               string
	Processes, Threads int    // how many, and on how many threads each
	Cells              []Cell // of all processes
	Private            []Cell // of each process
	Registers          []Cell // of each thread
	Steps              []Step // the program

	// Guardian gives each process one thread more, which runs no step and
	// ends at some moment of its process's death like any other: the thread
	// whose robust list covers the locks of its process.
	Guardian bool
	// Exit is the kernel's clean-up for a thread that ends because its
	// process was killed: w.P is the process, w.T the thread or GuardianThread.
	// The thread has left its wait queue by then. It is not asked about threads
	// that had finished, which hold nothing any more. Nil: none.
	Exit func(w *World)

	// Crashes is how many processes may be killed, each at any moment. The
	// threads of a killed process end one by one in any order; until then
	// they can swallow wakes, and run on as far as Late allows. A process
	// whose threads have all finished is not killed any more.
	Crashes int
	Late    Late
	// Timer says that every sleep is bounded: it may end at any moment with
	// TimedOut, and protocol may lean on that.
	Timer bool
	// Spurious lets any sleep end at any moment without cause. No protocol
	// may lean on that, so it never counts as a way out.
	Spurious bool
	// GiveUps is how many waits may be cancelled: sleeps, and steps that ask
	// by World.GiveUp. It never counts as a way out.
	GiveUps int
	// Faults are steps of nobody, of which at most MaxFaults happen.
	Faults    []Step
	MaxFaults int

	// Invariant is asked about every state, Final about every state in which
	// all live threads have finished and no process is dying. Nil: no rule.
	Invariant func(w *World) error
	Final     func(w *World) error

	// MaxStates bounds memory: about twice the encoded state, and 4 bytes a
	// transition. 0 means 20 million.
	MaxStates int
}

// Cell describes one byte of memory.
type Cell struct {
	Name string
	Kind Kind // of number that it holds
	Init byte // what it holds first
}

// Kind says what the number in a [Cell] means.
type Kind byte

const (
	Number    Kind = iota // a plain number
	ProcessID             // 0: none, else a World.Process
	ThreadID              // 0: none, else a World.Thread
)

// Step is one atomic step of a thread. System says that it is a system call,
// which a killed thread may still finish; see [Late].
type Step struct {
	Name   string
	Do     func(w *World) // the step itself
	System bool
}

// Late says what a thread of a killed process may still do before it ends.
type Late byte

const (
	LateNothing Late = iota // it does nothing more, though it is not gone yet
	LateSystem              // it finishes a system call, but runs no other step
	LateAny                 // it runs on for any number of steps
)

// Wakeup is how a thread's last sleep ended.
type Wakeup byte

const (
	Woken     Wakeup = iota // by Wake
	TimedOut                // its time was over: see Model.Timer
	Cancelled               // it was given up: see Model.GiveUps
)

// Verdict is what [Check] found.
type Verdict struct {
	Model       string // its name
	States      int    // up to permutation
	Transitions int
	Elapsed     time.Duration

	// Err is nil if the protocol holds.
	Err error
	// Trace leads from the start to the state that breaks it, in the fewest
	// steps, one line each; then that state.
	Trace []string
}

// ErrStuck is wrapped by Verdict.Err when a state was reached from which not
// all live threads can finish, whatever happens short of another death, a
// spurious wake or somebody giving up: a lost wake, a lock whose owner is gone,
// or a livelock.
var ErrStuck = errors.New("fuzz: live threads can never finish")

// ErrTooLarge is wrapped by Verdict.Err when Model.MaxStates did not suffice.
var ErrTooLarge = errors.New("fuzz: too many states")

// String is one line when the protocol holds, else the counterexample too.
func (r *Verdict) String() string {
	s := fmt.Sprintf("%s: %d states, %d transitions: ", r.Model, r.States, r.Transitions)
	if r.Err == nil {
		return s + "ok"
	}
	return s + r.Err.Error() + "\n\t" + strings.Join(r.Trace, "\n\t")
}

// Check tries all interleavings of m's steps, breadth first, with all kills,
// late steps, timeouts and wakes that m allows. In every state the invariant
// must hold, and from every state there must be a way for all live threads to
// finish ([ErrStuck]). Memory is sequentially consistent.
//
// It does not return before it is done; 100,000 states take about a second on
// a slow machine. A mistake in the model itself (a step that panics, a cell that
// is not there, a value above 255) panics, and names the step. Calls of Check are
// independent of each other.
func Check(m *Model) *Verdict {
	began := time.Now()
	w := newWorld(m)
	defer func() {
		if r := recover(); r != nil {
			panic(fmt.Sprintf("fuzz: model %q, step %q: %v", m.Name, w.step, r))
		}
	}()
	x := &search{w: w, set: newStateSet(w.size), canon: newCanon(w)}
	r := x.run()
	r.Model, r.States, r.Elapsed = m.Name, x.set.len(), time.Since(began)
	return r
}

// search is the breadth-first exploration. The states in the set are at the
// same time its queue: state i's successors are worked out i-th.
type search struct {
	w     *World
	set   *stateSet
	canon *canon
	from  []uint32 // by state: who found it
	out   edges    // without those that are no way out, and without loops
	final []bool   // by state; later: can reach such a state
}

func (x *search) run() *Verdict {
	w, r := x.w, &Verdict{}
	limit := w.m.MaxStates
	if limit == 0 {
		limit = 20_000_000
	}
	start := w.initial()
	x.canon.apply(start)
	x.set.add(start)
	x.from = append(x.from, 0)

	buf := make([]byte, w.size)
	cur := make([]byte, w.size)
	for i := 0; i < x.set.len(); i++ {
		copy(cur, x.set.at(i))
		w.show(cur)
		if err := w.judge(); err != nil {
			return x.fail(r, i, err)
		}
		x.final = append(x.final, w.finished())
		if x.set.len() > limit {
			r.Err = fmt.Errorf("%w: more than %d", ErrTooLarge, limit)
			return r
		}
		var broken error
		w.successors(cur, func(next []byte) bool {
			r.Transitions++
			if w.failed != nil {
				broken = w.failed
				return false
			}
			copy(buf, next)
			x.canon.apply(buf)
			j, fresh := x.set.add(buf)
			if fresh {
				x.from = append(x.from, uint32(i))
			}
			if !w.aside && j != i {
				x.out.add(uint32(j))
			}
			return true
		})
		if broken != nil {
			return x.fail(r, i, broken)
		}
		x.out.end()
	}
	x.out.spread(x.final)
	for i, ok := range x.final {
		if !ok {
			return x.fail(r, i, ErrStuck)
		}
	}
	return r
}
