package fuzz

import (
	"fmt"
	"testing"
	"time"
)

// Options of KillEach and PauseEach. The zero value, or nil, is the default.
type Options struct {
	// Packages are the import paths whose code has the points; what is below
	// a path counts too. Default: the package whose test registered the
	// scenario, without "_test".
	Packages []string

	// At says where the points are. Default: Instructions.
	At At

	// Points says at which points: "all", "tenth" or "1/N" (random ones, at
	// least eight; fewer under the race detector), or a number of random points.
	// Default: $RAWIPC_KILLPOINTS, else 4 with -short, else "tenth".
	Points string

	// In leaves only the Instructions in functions whose names end in it, and no
	// sleeps: for a mistake of which it is known where it can show.
	In string

	// Seed of the random choice. Default: $RAWIPC_SEED, else the clock's.
	Seed uint64

	// Patience is how long a process may rest after the victim's end before
	// it counts as stuck. It is longer than a robust waiter takes to notice a
	// death, shorter than any timer that would only make up for a lost wake.
	// Where that is the same timer, KillEach wants more than it, and PauseEach,
	// in which nobody dies, less. Default: 400 ms.
	Patience time.Duration

	// Progress says that in PauseEach the AtPoint peers must get ready or
	// return while the victim stands; else they may sleep until it goes on.
	Progress bool

	// MaxFailures ends a cast after so many stuck or corrupt points.
	// Default: 10.
	MaxFailures int

	// ReportOnly leaves it to the caller to judge the report; else every
	// stuck or corrupt point fails the test.
	ReportOnly bool
}

// Report is what KillEach and PauseEach found.
type Report struct {
	Points  int // where the victim was killed or paused
	Stuck   int // points after which somebody never went on
	Corrupt int // points after which somebody saw the protocol broken
	Seed    uint64
	Runs    []Run   // one for each cast
	Traces  []Trace // one for each failure
}

// Run is the part of a report that one cast has.
type Run struct {
	Cast   string
	Length int // points of the undisturbed runs, taken together
	// Missed counts the points that an undisturbed run came by, but three later
	// ones did not: as a rule a function's call for more stack, or a turn of a
	// loop that waits for somebody. Moments are earlier with each try.
	Missed                 int
	Points, Stuck, Corrupt int
	Time                   time.Duration // of the points tried
	Steps                  int           // stops of the victim in it
}

// String says it in a line.
func (r Run) String() string {
	per := time.Duration(0)
	if r.Points > 0 {
		per = r.Time / time.Duration(r.Points)
	}
	missed := ""
	if r.Missed > 0 {
		missed = fmt.Sprintf(", %d missed", r.Missed)
	}
	return fmt.Sprintf("%-20s %4d points, %4d tried%s, %d stuck, %d corrupt, %v a point",
		r.Cast+":", r.Length, r.Points, missed, r.Stuck, r.Corrupt, per.Round(10*time.Microsecond))
}

// Trace describes one failure.
type Trace struct {
	Cast     string
	K        int    // the point's number among those of the undisturbed runs; -1: in one of these
	Pass     int    // how often the run had come by before
	Func     string // the function of Options.Packages around it, inlined or not, or that called it
	Line     string // file:line+offset of the instruction in its function
	Asleep   bool   // the victim slept in the kernel, within Func's caller
	Finished bool   // no point: Do had ended, nobody was killed
	Stuck    []string
	Corrupt  []string
	Words    string // the segment's words that are not zero
}

// String says it on a few lines.
func (t Trace) String() string {
	where := fmt.Sprintf("at %s (%s)", t.Func, t.Line)
	switch {
	case t.Finished:
		where = "after the whole operation, undisturbed"
	case t.Asleep:
		where = "asleep in the kernel"
	}
	return fmt.Sprintf("%s, k=%d/%d %s: stuck %q, corrupt %q; segment%s",
		t.Cast, t.K, t.Pass, where, t.Stuck, t.Corrupt, t.Words)
}

// KillEach kills a helper process with SIGKILL at the instructions of one
// operation, at one instruction a round, and asks the survivors each time.
// An operation without a point fails the test, too.
// A point is an instruction of opts.Packages, inlined calls included; the
// runtime and other libraries are run through, and a sleep in the kernel is a
// point as well. It goes through the operation for each of the scenario's
// casts, prints a line for each, fails the test at failures unless told
// otherwise, and skips it where threads can't be traced.
//
// The points are those that an undisturbed run (three, where Points is "all")
// came by, instruction by instruction; of one in a loop the first 16 passings
// and the last are points. It blocks for some 5 to 10 ms a point and leaves no
// process behind. TestMain must be [Main]. Calls may run at the same time,
// though they disturb each other.
func KillEach(t testing.TB, sc *Scenario, opts *Options) Report {
	t.Helper()
	return each(t, sc, opts, false)
}

// PauseEach stops the victim where KillEach would kill it, until the cast's
// AtPoint peers have got ready, returned or fallen asleep; then it goes on, and
// everybody must come to an end, the victim included. Else it is as KillEach.
func PauseEach(t testing.TB, sc *Scenario, opts *Options) Report {
	t.Helper()
	return each(t, sc, opts, true)
}

func each(t testing.TB, sc *Scenario, opts *Options, pause bool) Report {
	t.Helper()
	if whyNoTrace != "" {
		t.Skip("fuzz: " + whyNoTrace)
	}
	if !canHelp {
		t.Fatal("fuzz: KillEach needs helper processes: let TestMain call fuzz.Main")
	}
	Tool(t, "ptrace")
	s := &stage{sc: sc, pause: pause}
	if opts != nil {
		s.opts = *opts
	}
	if err := s.opts.fill(sc); err != nil {
		t.Fatal(err)
	}
	rep, err := s.playAll()
	verb := map[bool]string{false: "killed", true: "paused"}[pause]
	for _, run := range rep.Runs {
		t.Logf("%s %s, %v", sc.name, verb, run)
	}
	if len(rep.Traces) > 0 || err != nil {
		t.Logf("%s: RAWIPC_SEED=%d RAWIPC_KILLPOINTS=%s", sc.name, rep.Seed, s.opts.Points)
	}
	if err != nil {
		t.Fatalf("%s: %v", sc.name, err)
	}
	if why := s.pointless(rep); why != "" && !s.opts.ReportOnly {
		t.Errorf("%s: %s", sc.name, why)
	}
	for _, tr := range rep.Traces {
		if s.opts.ReportOnly {
			t.Logf("%s: %v", sc.name, tr)
		} else {
			t.Errorf("%s: %v", sc.name, tr)
		}
	}
	return rep
}
