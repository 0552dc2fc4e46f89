package fuzz

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (o *Options) fill(sc *Scenario) (err error) {
	if o.Packages == nil {
		o.Packages = []string{sc.pkg}
	}
	if o.Points == "" {
		o.Points = os.Getenv("RAWIPC_KILLPOINTS")
	}
	if o.Points == "" {
		o.Points = "tenth"
		if testing.Short() {
			o.Points = "4"
		}
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
	if n, err := strconv.Atoi(o.Points); o.Points != "all" && o.Points != "tenth" && (err != nil || n < 1) {
		return fmt.Errorf("fuzz: points %q, want all, tenth or a number above 0", o.Points)
	}
	if o.Patience <= 0 {
		o.Patience = 400 * time.Millisecond
	}
	if o.MaxFailures <= 0 {
		o.MaxFailures = 10
	}
	return nil
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

// settleDown keeps the calling thread on one of its CPUs, the last.
func settleDown() (cpu int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, os.NewSyscallError("sched_getaffinity", err)
	}
	for cpu = 64*len(set) - 1; cpu > 0 && !set.IsSet(cpu); cpu-- {
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
	for range 3 { // undisturbed: the scenario works, and has a length
		r, err := s.try(undisturbed, &run, rep)
		if err != nil {
			return run, err
		}
		run.Length = max(run.Length, r.points)
	}
	if s.opts.Points == "all" {
		// A run may be longer than those before it, so one that ended
		// before the point is no proof that there is none.
		for k, ends := 0, 0; ends < 10 && run.failures() < s.opts.MaxFailures; k++ {
			r, err := s.try(target{k: k}, &run, rep)
			if err != nil {
				return run, err
			}
			if ends++; r.halt != finished {
				ends = 0
			}
		}
		return run, s.makeUp(&run, rep)
	}
	for _, k := range s.sample(run.Length) {
		if run.failures() >= s.opts.MaxFailures {
			break
		}
		if _, err := s.try(target{k: k}, &run, rep); err != nil {
			return run, err
		}
	}
	return run, nil
}

// makeUp tries the instructions that a run came by, but that no k hit: runs
// differ.
func (s *stage) makeUp(run *Run, rep *Report) error {
	for pc := range maps.Clone(s.seen) {
		for range 3 { // the victim may not come by each time
			if run.failures() >= s.opts.MaxFailures {
				return nil
			}
			if s.tried[pc] {
				break
			}
			if _, err := s.try(target{-1, pc}, run, rep); err != nil {
				return err
			}
		}
	}
	for pc := range s.seen {
		if !s.tried[pc] {
			run.Missed++
		}
	}
	return nil
}

// sample chooses among n points: those whose hash comes first, so that a run
// one point longer, as stack growth makes it, changes little.
func (s *stage) sample(n int) []int {
	want, err := strconv.Atoi(s.opts.Points)
	if err != nil {
		want = max(n/10, 8)
		if raceBuild {
			want = max(n/50, 4)
		}
	}
	rank := func(k int) uint64 {
		return rand.NewPCG(s.opts.Seed, uint64(s.cast)<<32|uint64(k)).Uint64()
	}
	ks := make([]int, n)
	for k := range ks {
		ks[k] = k
	}
	slices.SortFunc(ks, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	ks = ks[:min(want, n)]
	slices.Sort(ks)
	return ks
}

func (r *Run) failures() int { return r.Stuck + r.Corrupt }

// try plays one round and counts it.
func (s *stage) try(to target, run *Run, rep *Report) (round, error) {
	start, steps := time.Now(), s.steps
	r, err := s.play(to)
	if err != nil {
		return r, fmt.Errorf("k=%d: %w", to.k, err)
	}
	if r.halt == atPoint || r.halt == asleepAtPoint {
		run.Points++
		s.tried[r.pc-s.code.slide] = true
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
		Cast: run.Cast, K: r.points, Func: f, Line: l,
		Asleep: r.halt == asleepAtPoint, Finished: r.halt == finished,
		Stuck: r.stuck, Corrupt: r.corrupt, Words: r.words,
	})
	return r, nil
}
