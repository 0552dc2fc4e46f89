package fuzz_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
)

var (
	unlockBroken = fuzz.RegisterOp("test/unlock-two-steps", 64, unlockOp((*lock).unlockTwoSteps))
	unlockRight  = fuzz.RegisterOp("test/unlock-one-step", 64, unlockOp((*lock).unlockOneStep))
	pairBroken   = fuzz.RegisterOp("test/pair-two-steps", 64, pairOp((*pair).addTwoSteps))
	pairRight    = fuzz.RegisterOp("test/pair-one-step", 64, pairOp((*pair).addOneStep))
	passing      = fuzz.RegisterOp("test/pass", 64, passOp)
	woken        = fuzz.RegisterOp("test/woken", 64, wokenOp)
	heir         = fuzz.RegisterOp("test/dead-holder", 64, heirOp)
	robust       = fuzz.RegisterOp("test/robust-list", 64, robustOp)
	doFails      = fuzz.RegisterOp("test/do-fails", 64, just(fuzz.Op{Do: func() error { return errors.New("no") }}))
	doPanics     = fuzz.RegisterOp("test/do-panics", 64, just(fuzz.Op{Do: func() error { panic("oh") }}))
	prepareFails = fuzz.RegisterOp("test/prepare-fails", 64, just(fuzz.Op{
		Prepare: func() error { return errors.New("not today") }, Do: nothing}))
	initDies = fuzz.RegisterOp("test/init-dies", 64, just(fuzz.Op{
		Init: func() error { os.Exit(1); return nil }, Do: nothing}))
	neverWoken = fuzz.RegisterOp("test/never-woken", 64, func(s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{Do: func() error { futexSleep(&at[lock](s).word, 0); return nil }}
	})
)

func just(op fuzz.Op) func(*fuzz.Segment) fuzz.Op { return func(*fuzz.Segment) fuzz.Op { return op } }

func nothing() error { return nil }

// testCode makes points of this test package.
var testCode = []string{"github.com/rawipc/rawipc/fuzz_test"}

// all is every point where a step is cheap.
func all() string {
	if fuzz.RaceBuild || testing.Short() {
		return "8"
	}
	return "all"
}

func options(points string) *fuzz.Options {
	return &fuzz.Options{Packages: testCode, Points: points, Patience: 150 * time.Millisecond,
		MaxFailures: 3, ReportOnly: true}
}

// onlyIn fails unless every failure stands in that function.
func onlyIn(t *testing.T, rep fuzz.Report, functions ...string) {
	t.Helper()
	for _, tr := range rep.Traces {
		if !slices.ContainsFunc(functions, func(f string) bool { return strings.HasSuffix(tr.Func, f) }) {
			t.Errorf("a failure outside %v: %v", functions, tr)
		}
	}
}

func TestKillEachFindsStuck(t *testing.T) {
	rep := fuzz.KillEach(t, unlockBroken, options("all"))
	if rep.Stuck == 0 || rep.Corrupt != 0 {
		t.Errorf("unlock in two steps: %d stuck, %d corrupt; want some, 0", rep.Stuck, rep.Corrupt)
	}
	// The call before the wake is a part of it, where it isn't inlined.
	onlyIn(t, rep, ".unlockTwoSteps", ".futexCall")
	for _, run := range rep.Runs {
		// With sleepers inside, who die with it, the kernel wakes for them.
		if alone := run.Cast == "nobody"; alone && run.Stuck > 0 || run.Cast == "sleeper" && run.Stuck == 0 {
			t.Errorf("%v: only the sleeper outside can be stuck, and must be", run)
		}
	}
}

func TestKillEachPassesTheRight(t *testing.T) {
	for _, sc := range []*fuzz.Scenario{unlockRight, pairRight, robust, heir} {
		if rep := fuzz.KillEach(t, sc, options("1/3")); rep.Points == 0 || rep.Stuck+rep.Corrupt != 0 {
			t.Errorf("%s: %d points, %d stuck, %d corrupt; want some, 0, 0", sc.Name(), rep.Points, rep.Stuck, rep.Corrupt)
		}
	}
}

func TestKillEachFindsCorrupt(t *testing.T) {
	rep := fuzz.KillEach(t, pairBroken, options("all"))
	if rep.Stuck != 0 || rep.Corrupt == 0 {
		t.Errorf("update in two steps: %d stuck, %d corrupt; want 0, some", rep.Stuck, rep.Corrupt)
	}
	onlyIn(t, rep, ".addTwoSteps")
}

// A sleeper that was woken and dies before it has the lock takes the wake with
// it; the point at which it sleeps does no harm.
func TestKillEachWokenWaiter(t *testing.T) {
	rep := fuzz.KillEach(t, woken, options("all"))
	if rep.Stuck == 0 {
		t.Error("no point at which the woken waiter's death leaves the second sleeper asleep")
	}
	for _, tr := range rep.Traces {
		if tr.Asleep {
			t.Errorf("the victim slept, and its wake was lost: %v", tr)
		}
	}
}

func TestPauseEach(t *testing.T) {
	rep := fuzz.PauseEach(t, pairBroken, options("all"))
	if rep.Corrupt == 0 || rep.Stuck != 0 {
		t.Errorf("update in two steps: %d stuck, %d corrupt; want 0, some", rep.Stuck, rep.Corrupt)
	}
	onlyIn(t, rep, ".addTwoSteps")
	for _, sc := range []*fuzz.Scenario{pairRight, unlockRight, passing, woken} {
		if rep := fuzz.PauseEach(t, sc, options("12")); rep.Points == 0 || rep.Stuck+rep.Corrupt != 0 {
			t.Errorf("%s: %d points, %d stuck, %d corrupt; want some, 0, 0", sc.Name(), rep.Points, rep.Stuck, rep.Corrupt)
		}
	}
}

// Who passes by while the lock's holder stands must wait: with Progress that
// is a failure.
func TestPauseEachProgress(t *testing.T) {
	opts := options("all")
	opts.Progress = true
	if rep := fuzz.PauseEach(t, passing, opts); rep.Stuck == 0 {
		t.Error("a lock that is held at no point")
	}
	if rep := fuzz.PauseEach(t, pairRight, opts); rep.Points == 0 || rep.Stuck+rep.Corrupt != 0 {
		t.Errorf("%d points, %d stuck, %d corrupt; want some, 0, 0", rep.Points, rep.Stuck, rep.Corrupt)
	}
}

// Inlined calls count: nothing of sync/atomic is ever called, and the point
// between the two halves is found all the same.
func TestKillEachInlined(t *testing.T) {
	opts := options("all")
	opts.Packages = []string{"sync/atomic"}
	if rep := fuzz.KillEach(t, pairBroken, opts); rep.Corrupt == 0 {
		t.Error("no point in inlined code")
	}
}

// Where there are no breakpoint registers, all is stepped through and the
// points are the same, but for a growth of the stack.
func TestKillEachWithoutBreakpoints(t *testing.T) {
	if fuzz.RaceBuild {
		t.Skip("every memory access is a call then, and a thousand steps")
	}
	fast := fuzz.KillEach(t, unlockRight, options("2"))
	defer fuzz.SetNoBreakpoints(true)()
	slow := fuzz.KillEach(t, unlockRight, options("2"))
	for i := range fast.Runs {
		if a, b := fast.Runs[i].Length, slow.Runs[i].Length; a > b+b/3 || b > a+a/3 {
			t.Errorf("%s: %d points with breakpoints, %d without", fast.Runs[i].Cast, a, b)
		}
	}
}

// The example's protocol holds, without leniency.
func TestKillEachExample(t *testing.T) {
	fuzz.KillEach(t, write, &fuzz.Options{Packages: testCode, Points: all()})
	fuzz.PauseEach(t, write, &fuzz.Options{Packages: testCode, Points: all(), Progress: true})
	fuzz.KillEach(t, passGate, &fuzz.Options{Packages: testCode, Points: all()})
	fuzz.PauseEach(t, passGate, &fuzz.Options{Packages: testCode, Points: all()})
}

// A seed chooses the same points again, and nearly the same ones in a run that
// is longer by one.
func TestSample(t *testing.T) {
	for _, points := range []string{"tenth", "25", "1/7"} {
		a, b := fuzz.Sample(points, 42, 250), fuzz.Sample(points, 42, 251)
		if !slices.Equal(a, fuzz.Sample(points, 42, 250)) {
			t.Errorf("%s: two choices from one seed", points)
		}
		common := 0
		for _, k := range a {
			if slices.Contains(b, k) {
				common++
			}
		}
		if common < len(a)-1 || len(a) != len(b) {
			t.Errorf("%s: %v and %v have %d in common", points, a, b, common)
		}
		if slices.Equal(a, fuzz.Sample(points, 43, 250)) {
			t.Errorf("%s: two seeds choose the same %v", points, a)
		}
	}
	if ks := fuzz.Sample("tenth", 1, 3); !slices.Equal(ks, []int{0, 1, 2}) {
		t.Errorf("of 3 points %v, want all", ks)
	}
}

// recorder takes what a test would be told.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Errorf(f string, a ...any) { r.said = append(r.said, fmt.Sprintf(f, a...)) }

func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); panic(r) }

func (r *recorder) Fatal(a ...any) { r.Errorf("%s", fmt.Sprint(a...)); panic(r) }

// What goes wrong in a scenario is said, with the part that it went wrong in.
func TestKillEachSays(t *testing.T) {
	for _, test := range []struct {
		sc   *fuzz.Scenario
		opts fuzz.Options
		want string
	}{
		{doFails, fuzz.Options{Points: "1"}, "after the whole operation, undisturbed: stuck [], corrupt [\"Do: no\"]"},
		{doPanics, fuzz.Options{Points: "1"}, "Do: panic: oh"},
		{prepareFails, fuzz.Options{Points: "1"}, "fuzz: Prepare: not today"},
		{initDies, fuzz.Options{Points: "1"}, "fuzz: Init: helper process"},
		{neverWoken, fuzz.Options{Points: "1"}, "the victim, asleep in Do"},
		{doFails, fuzz.Options{Points: "some"}, `points "some", want all, tenth, 1/N or a number above 0`},
		{pairBroken, fuzz.Options{Packages: []string{"no/such"}}, `no points: Do runs no instruction of ["no/such"], but of ["github.com/rawipc/rawipc/fuzz`},
		{pairBroken, fuzz.Options{In: "addTwoStep"}, `no points: no function that Do runs ends in "addTwoStep" (Options.In)`},
		{pairBroken, fuzz.Options{At: fuzz.Calls}, "no points: Do makes no system call"},
		{pairBroken, fuzz.Options{At: 9}, "Options.At is 9, want"},
		{pairBroken, fuzz.Options{At: fuzz.Moments, Points: "all"}, `Options.Points is "all": of moments there are as many as one likes`},
		{pairBroken, fuzz.Options{Points: "all"}, " at github.com/rawipc/rawipc/fuzz_test.(*pair).addTwoSteps (kill_lock_test.go:"},
	} {
		r := &recorder{TB: t}
		func() {
			defer func() {
				if e := recover(); e != nil && e != r {
					panic(e)
				}
			}()
			test.opts.Patience = 50 * time.Millisecond
			if test.opts.Packages == nil {
				test.opts.Packages = testCode
			}
			fuzz.KillEach(r, test.sc, &test.opts)
		}()
		if said := strings.Join(r.said, "\n"); !strings.Contains(said, test.want) {
			t.Errorf("%s: said %q, want %q in it", test.sc.Name(), said, test.want)
		}
	}
}

func TestRegisterOpPanics(t *testing.T) {
	build := func(*fuzz.Segment) fuzz.Op { return fuzz.Op{} }
	for _, test := range []struct {
		name  string
		size  int
		build func(*fuzz.Segment) fuzz.Op
	}{{"a", 0, build}, {"a", 1, nil}, {pairRight.Name(), 1, build}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("RegisterOp(%q, %d) accepted", test.name, test.size)
				}
			}()
			fuzz.RegisterOp(test.name, test.size, test.build)
		}()
	}
}

// Nothing stays behind: no process, no descriptor.
func TestKillEachLeavesNothing(t *testing.T) {
	fds, kids := list("/proc/self/fd/*"), fuzz.ChildrenNow()
	fuzz.KillEach(t, unlockRight, options("3"))
	fuzz.PauseEach(t, pairBroken, options("all"))
	if after := list("/proc/self/fd/*"); after != fds {
		t.Errorf("descriptors: %s before, %s after", fds, after)
	}
	if after := fuzz.ChildrenNow(); !slices.Equal(after, kids) {
		t.Errorf("children: %q before, %q after", kids, after)
	}
}

// list says where the links of a directory lead.
func list(pattern string) string {
	var open []string
	names, _ := filepath.Glob(pattern)
	for _, name := range names {
		if to, err := os.Readlink(name); err == nil { // not the directory's own
			open = append(open, name+"="+to)
		}
	}
	return strings.Join(open, " ")
}
