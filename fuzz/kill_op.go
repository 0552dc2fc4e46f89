package fuzz

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Segment is the shared memory of one round of KillEach or PauseEach: zeroed
// when the round begins, mapped by every process that takes part in it.
type Segment struct {
	Mem  []byte   // the whole segment, mapped shared, page-aligned
	File *os.File // the sealed memfd behind Mem; closed by the harness
}

// Op is one operation on a Segment, and everybody who has a part in it. Each
// process of a round builds its own Op from the segment and is asked for one
// part of it; what its functions share beyond the segment, they share only
// within a process. Any function may be nil, save Do.
//
// A round goes: Init; Early peers; Prepare; Asleep peers; Do, to the point;
// AtPoint peers; the victim is killed (KillEach) or goes on (PauseEach);
// everybody is waited for; Check; Close in all who live.
//
// Where no point is met, as in the undisturbed runs that come first, and always in
// PauseEach, the victim lives on: Do must leave nothing behind that a peer or Check
// waits for. Lock, say, is Do's beginning, and Unlock its end.
type Op struct {
	Init    func() error          // in a bystander, first: lays out the segment
	Prepare func() error          // in the victim, on the thread that will run Do
	Do      func() error          // in the victim: the operation under the knife
	Check   func(died bool) error // in the bystander, at the end; must return in time
	Close   func() error          // undoes what building the Op did in this process
	Casts   []Cast                // who is about meanwhile; nil: nobody
}

// Cast is one set of peers. The harness goes through the operation once for
// every cast.
type Cast struct {
	Name  string
	Peers []Peer // who play beside the victim, all of them
}

// Peer is a part that is played beside the victim. It must return in the end,
// whatever happens to the victim; an error means that it saw the protocol
// broken.
type Peer struct {
	Name   string
	When   When
	Inside bool // in the victim's process, on another thread; else in its own process
	Dies   bool // killed by SIGKILL, and gone, before the harness goes on; not with Inside
	Run    func(c *Cue) error
}

// When says when a peer starts, and what the harness waits for before it goes
// on.
type When int

const (
	// Early peers start before Prepare; the harness goes on when they call
	// Cue.Ready or return.
	Early When = iota
	// Asleep peers start after Prepare; the harness goes on when they sleep
	// in the kernel or return.
	Asleep
	// Behind peers start when the victim sleeps in the kernel within Do, and
	// sleep there before Cue.Blocked is given: they queue behind the victim.
	// If it is killed before that they don't start.
	Behind
	// AtPoint peers start when the victim stands at the point (or, where the
	// operation finished before, behind it); the harness goes on when they
	// call Cue.Ready, return, or sleep in the kernel.
	AtPoint
)

// Cue tells a peer how far the round is. Its methods may be called by one
// goroutine at a time.
type Cue struct {
	ready         func()
	blocked, over chan struct{}
}

// Ready lets the harness go on: an Early peer holds what it should hold, an
// AtPoint peer has made the progress that is expected of it.
func (c *Cue) Ready() { c.ready() }

// Blocked waits until the victim sleeps in the kernel within Do, or is over.
func (c *Cue) Blocked() {
	select {
	case <-c.blocked:
	case <-c.over:
	}
}

// Over waits until the victim is dead, goes on after its pause, or has
// finished.
func (c *Cue) Over() { <-c.over }

// Company returns the casts that a lock or queue should be killed in: nobody;
// a sleeper; a sleeper and a barger, who comes by while the victim stands at
// the point; and two sleepers on threads of the victim's own process, with one
// outside. wait blocks as a sleeper does and undoes what it got; barge tries
// without blocking, calls Cue.Ready, holds what it got until Cue.Over, and
// undoes it; nil leaves its cast out. The extra peers are in every cast.
//
// A sleeper sleeps only if what it waits for is taken when it comes: by Prepare, for
// a Do that gives it up, or by an Early peer among the extra ones. Else it is through
// before Do begins, and the cast is as good as "nobody".
func Company(wait, barge func(c *Cue) error, extra ...Peer) []Cast {
	with := func(name string, peers ...Peer) Cast {
		return Cast{Name: name, Peers: append(append([]Peer(nil), extra...), peers...)}
	}
	sleeper := Peer{Name: "sleeper", When: Asleep, Run: wait}
	inside := Peer{Name: "insider", When: Asleep, Run: wait, Inside: true}
	casts := []Cast{with("nobody"), with("sleeper", sleeper)}
	if barge != nil {
		casts = append(casts, with("sleeper and barger", sleeper,
			Peer{Name: "barger", When: AtPoint, Run: barge}))
	}
	return append(casts, with("sleepers inside", inside, inside, sleeper))
}

// Scenario is an operation that was registered by RegisterOp.
type Scenario struct {
	name  string
	size  int
	build func(*Segment) Op
	pkg   string
}

// Name returns the name that the scenario was registered under.
func (s *Scenario) Name() string { return s.name }

var scenarios = map[string]*Scenario{}

// RegisterOp makes an operation known under a name, to this process and to the
// helper processes, which are this test binary once more: call it from a
// package variable. build is called once a round in every process of the
// round, with a segment of size bytes; it must not block and should leave the
// segment as it is (that is Init's part). RegisterOp panics on a size below
// one, a nil build, or a name that is taken.
func RegisterOp(name string, size int, build func(s *Segment) Op) *Scenario {
	if size < 1 || build == nil {
		panic(fmt.Sprintf("fuzz: RegisterOp %q: size %d, want at least 1, and a build function", name, size))
	}
	if scenarios[name] != nil {
		panic(fmt.Sprintf("fuzz: RegisterOp %q: the name is taken", name))
	}
	s := &Scenario{name: name, size: size, build: build}
	if pc, _, _, ok := runtime.Caller(1); ok {
		s.pkg = strings.TrimSuffix(packageOf(runtime.FuncForPC(pc).Name()), "_test")
	}
	scenarios[name] = s
	return s
}
