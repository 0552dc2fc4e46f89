package fuzz

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// This file chooses the points of a run.

func (o *Options) fill(sc *Scenario) (err error) {
	if o.Packages == nil {
		o.Packages = []string{sc.pkg}
	}
	if o.At < Instructions || o.At > Moments {
		return fmt.Errorf("fuzz: Options.At is %d, want Instructions, Calls or Moments", o.At)
	}
	given := o.Points != ""
	if o.Points == "" {
		o.Points = os.Getenv("RAWIPC_KILLPOINTS")
	}
	if o.Points == "" {
		o.Points = "tenth"
		if testing.Short() {
			o.Points = "4"
		}
	}
	if _, err := strconv.Atoi(o.Points); o.At == Moments && err != nil {
		if given {
			return fmt.Errorf("fuzz: Options.Points is %q: of moments there are as many as one likes, want a number", o.Points)
		}
		o.Points = "16"
	}
	if o.Seed == 0 {
		if seed := os.Getenv("RAWIPC_SEED"); seed != "" {
			if o.Seed, err = strconv.ParseUint(seed, 0, 64); err != nil {
				return fmt.Errorf("fuzz: RAWIPC_SEED=%q, want a number", seed)
			}
		} else {
			o.Seed = uint64(time.Now().UnixNano())
		}
	}
	if _, err := o.count(1); err != nil {
		return err
	}
	if o.Patience <= 0 {
		o.Patience = 400 * time.Millisecond
	}
	if o.MaxFailures <= 0 {
		o.MaxFailures = 10
	}
	return nil
}

// count is how many of n points are wanted.
func (o *Options) count(n int) (int, error) {
	switch o.Points {
	case "all":
		return n, nil
	case "tenth":
		return o.part(n, 10), nil
	}
	if k, ok := strings.CutPrefix(o.Points, "1/"); ok {
		if k, err := strconv.Atoi(k); err == nil && k > 0 {
			return o.part(n, k), nil
		}
	} else if k, err := strconv.Atoi(o.Points); err == nil && k > 0 {
		return min(k, n), nil
	}
	return 0, fmt.Errorf("fuzz: points %q, want all, tenth, 1/N or a number above 0", o.Points)
}

// part is one of k parts of n, but at least 8; steps are dear under the race
// detector.
func (o *Options) part(n, k int) int {
	if raceBuild {
		return min(max(n/(5*k), 4), n)
	}
	return min(max(n/k, 8), n)
}

// playAll plays everything on a thread that ends with it: its affinity is
// changed, and ptrace wants one thread for all.
func (s *stage) playAll() (rep Report, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		s.code, s.crew = newCodeMap(s.opts.Packages), newCrew()
		rep.Seed = s.opts.Seed
		if s.cpu, err = settleDown(); err == nil {
			err = s.playCasts(&rep)
		}
		err = errors.Join(err, s.leave())
		s.crew.dismiss()
	}()
	<-done
	return rep, err
}

// settleDown keeps the calling thread on one of its CPUs: not on the same in all
// the test programs that run at a time.
func settleDown() (cpu int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, os.NewSyscallError("sched_getaffinity", err)
	}
	for nth := os.Getpid() % max(set.Count(), 1); cpu < 64*len(set)-1; cpu++ {
		if set.IsSet(cpu) {
			if nth--; nth < 0 {
				break
			}
		}
	}
	set.Zero()
	set.Set(cpu)
	return cpu, os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &set))
}

func (s *stage) playCasts(rep *Report) error {
	if err := s.learn(); err != nil {
		return err
	}
	casts := s.casts
	if len(casts) == 0 {
		casts = []castInfo{{Name: "nobody"}}
	}
	for i, c := range casts {
		if err := s.setCast(i, c); err != nil {
			return err
		}
		run, err := s.playCast(c.Name, rep)
		rep.Runs = append(rep.Runs, run)
		rep.Points += run.Points
		rep.Stuck += run.Stuck
		rep.Corrupt += run.Corrupt
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

// playCast plays the rounds of the cast that is on.
func (s *stage) playCast(name string, rep *Report) (run Run, err error) {
	run.Cast = name
	var points []mark
	var took time.Duration
	for range s.lessons() { // undisturbed: the scenario works, and has points
		r, err := s.try(-1, undisturbed, &run, rep)
		if err != nil {
			return run, err
		}
		points = merge(points, r.trail)
		if took == 0 || r.took < took {
			took = r.took
		}
	}
	switch s.opts.At {
	case Instructions:
		points = s.within(thin(points))
	case Moments:
		points = s.moments(took)
	}
	run.Length = len(points)
	for _, k := range s.sample(points) {
		if run.failures() >= s.opts.MaxFailures {
			break
		}
		hit, err := s.meet(k, points[k], &run, rep)
		if err != nil {
			return run, err
		}
		if !hit {
			run.Missed++
		}
	}
	return run, nil
}

// meet plays rounds until one comes by the point, at most three: runs differ.
func (s *stage) meet(k int, to mark, run *Run, rep *Report) (bool, error) {
	for range 3 {
		r, err := s.try(k, to, run, rep)
		if err != nil || r.halt != finished {
			return err == nil, err
		}
		if !r.well() {
			break
		}
		if to.pc == atMoment {
			to.n /= 2
		}
	}
	return false, nil
}

// pointless says why there was no point at all, if there was none.
func (s *stage) pointless(rep Report) string {
	for _, run := range rep.Runs {
		if run.Length > 0 {
			return ""
		}
	}
	switch {
	case s.opts.At == Calls:
		return "no points: Do makes no system call"
	case s.opts.At == Instructions && s.opts.In != "":
		return fmt.Sprintf("no points: no function that Do runs ends in %q (Options.In) and is of %q (Options.Packages)", s.opts.In, s.opts.Packages)
	case s.opts.At == Instructions:
		return fmt.Sprintf("no points: Do runs no instruction of %q, but of %q: see Options.Packages", s.opts.Packages, s.code.packages())
	}
	return ""
}

// lessons is from how many runs the points are taken: the scheduler, a grown
// stack and an interrupted wait make them differ. They go step by step, so for
// a sample one must do.
func (s *stage) lessons() int {
	if s.opts.Points == "all" || s.opts.At == Moments {
		return 3
	}
	return 1
}

func (r *Run) failures() int { return r.Stuck + r.Corrupt }

// try plays one round and counts it.
func (s *stage) try(k int, to mark, run *Run, rep *Report) (round, error) {
	start, steps := time.Now(), s.steps
	r, err := s.play(to)
	for again := 0; again < 2 && errors.Is(err, errLost); again++ {
		r, err = s.play(to)
	}
	if err != nil {
		return r, fmt.Errorf("k=%d: %w", k, err)
	}
	if r.halt == atPoint || r.halt == asleepAtPoint {
		run.Points++
		run.Time += time.Since(start)
		run.Steps += s.steps - steps
	}
	if r.well() {
		return r, nil
	}
	if len(r.stuck) > 0 {
		run.Stuck++
	}
	if len(r.corrupt) > 0 {
		run.Corrupt++
	}
	f, l := s.code.place(r.pc)
	rep.Traces = append(rep.Traces, Trace{
		Cast: run.Cast, K: k, Pass: to.n, Func: f, Line: to.whence(r.call) + l,
		Asleep: r.halt == asleepAtPoint, Finished: r.halt == finished,
		Stuck: r.stuck, Corrupt: r.corrupt, Words: r.words,
	})
	return r, nil
}
