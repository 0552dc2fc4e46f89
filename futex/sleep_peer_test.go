package futex_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// relay is what two processes on one CPU wake each other with, in turn.
type relay struct {
	Plain   futex.Mutex
	Robust  futex.RobustMutex
	Cond    futex.Cond
	Barrier futex.Barrier
	Sem     [2]futex.Semaphore
	Event   [2]futex.Event
	Turn    int
	Word    [2]atomic.Uint32
	P50     atomic.Int64 // ns of a round trip
	Mean    atomic.Int64
	Slept   atomic.Int64 // how often both slept, by the kernel's count
}

type runner struct {
	Relay *shm.Shared[relay]
	Kind  string
	Who   int
	Trips int
	Count bool // of Slept: both keep to one thread
}

// trip gives the turn to the other and waits until it is who's again, as
// peer_sleep.c does it.
func (r *relay) trip(kind string, who int) error {
	switch kind {
	case "Barrier":
		if _, err := r.Barrier.Wait(bg); err != nil {
			return err
		}
		_, err := r.Barrier.Wait(bg)
		return err
	case "Semaphore":
		if who == 1 {
			if err := r.Sem[1].Acquire(bg); err != nil {
				return err
			}
		}
		if err := r.Sem[1-who].Release(); err != nil || who == 1 {
			return err
		}
		return r.Sem[0].Acquire(bg)
	case "Event":
		if who == 0 {
			r.Event[1].Set()
		}
		if err := r.Event[who].Wait(bg); err != nil {
			return err
		}
		r.Event[who].Reset()
		if who == 1 {
			r.Event[0].Set()
		}
		return nil
	case "Wait, Wake": // what any of these needs
		mine := &r.Word[who]
		if who == 0 {
			r.Word[1].Store(1)
			futex.Wake(&r.Word[1], 1)
		}
		for mine.Load() == 0 {
			if err := futex.Wait(mine, 0); err != nil {
				return err
			}
		}
		mine.Store(0)
		if who == 1 {
			r.Word[0].Store(1)
			futex.Wake(&r.Word[0], 1)
		}
		return nil
	case "Cond, Mutex":
		r.Plain.Lock()
		for r.Turn != who {
			if err := r.Cond.Wait(bg, &r.Plain); err != nil {
				return err
			}
		}
		r.Turn = 1 - who
		err := r.Cond.Signal()
		r.Plain.Unlock()
		return err
	}
	if err := r.Robust.Lock(); err != nil {
		return err
	}
	for r.Turn != who {
		if err := r.Cond.Wait(bg, &r.Robust); err != nil {
			return err
		}
	}
	r.Turn = 1 - who
	if err := r.Cond.Signal(); err != nil {
		return err
	}
	return r.Robust.Unlock()
}

var runRelay = proc.Register("runRelay", func(ctx context.Context, a runner) error {
	r := a.Relay.Ptr()
	took := make([]time.Duration, a.Trips)
	if a.Count {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before := switches()
		defer func() { r.Slept.Add(switches() - before) }()
	}
	start := time.Now()
	last := start
	for i := range took {
		if err := r.trip(a.Kind, a.Who); err != nil {
			return err
		}
		now := time.Now()
		took[i], last = now.Sub(last), now
	}
	if a.Who == 0 {
		slices.Sort(took)
		r.P50.Store(int64(took[a.Trips/2]))
		r.Mean.Store(int64(last.Sub(start)) / int64(a.Trips))
	}
	return nil
})

// switches is how often this thread has gone to sleep: it counts when a thread
// gives the CPU away because it waits, not when it yields.
func switches() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		panic(err)
	}
	return int64(u.Nvcsw)
}

func relayOn(t testing.TB, cpu int, kind string, trips int) (p50, mean float64) {
	t.Helper()
	r := relayed(t, runner{Kind: kind, Trips: trips}, cpu)
	return float64(r[0]), float64(r[1])
}

// relayed returns p50, mean, and how often both slept.
func relayed(t testing.TB, a runner, cpu int) [3]int64 {
	t.Helper()
	s, err := shm.New(func(r *relay) error { return r.Barrier.Init(2) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var p [2]*proc.Process
	for who := range p {
		a.Relay, a.Who = s, who
		p[who], err = runRelay.StartCmd(within(t), &proc.Cmd{CPUs: []int{cpu}}, a)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range p {
		succeeds(t, p)
	}
	r := s.Ptr()
	return [3]int64{r.P50.Load(), r.Mean.Load(), r.Slept.Load()}
}

// On one CPU the partner gets it by a yield, and hardly anybody sleeps.
func TestYieldBeforeSleep(t *testing.T) {
	cpu, trips := theCPUs(t)[0], 500
	for _, kind := range []string{"Semaphore", "Event", "Cond, Mutex", "Cond, RobustMutex", "Barrier"} {
		var all []float64
		for start := time.Now(); ; {
			slept := float64(relayed(t, runner{Kind: kind, Trips: trips, Count: true}, cpu)[2]) / float64(2*trips)
			if all = append(all, slept); slept < 0.3 {
				t.Logf("%s: %.2f sleeps a wait", kind, slept)
				break
			}
			if time.Since(start) > hang {
				t.Errorf("%s: %.2f sleeps a wait, want less than 0.3 once", kind, all)
				break
			}
		}
	}
}

// Sleeping round trips on one CPU, where the time is the primitive's and not
// the hypervisor's. Ours and glibc's take turns.
func TestSleepBesideC(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies the time")
	}
	gcc := fuzz.Tool(t, "gcc")
	bin := filepath.Join(t.TempDir(), "peer_sleep")
	if out, err := exec.Command(gcc, "-O2", "-pthread", "-Wall", "-Werror", "-o", bin, "testdata/peer_sleep.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	cpu, rounds, trips := theCPUs(t)[0], times(3, 5, 31), 2000
	for _, row := range []struct {
		ours, theirs string
		goal         float64 // 0: none
	}{
		{"Cond, Mutex", "cond", 1.3},
		{"Cond, RobustMutex", "robust", 1.3},
		{"Barrier", "barrier", 1.3},
		{"Semaphore", "sem", 1.3},
		{"Event", "sem", 1.3},
		{"Wait, Wake", "sem", 0},
	} {
		var p50, mean, cp50, cmean, ratios []float64
		for range rounds {
			out, err := exec.CommandContext(within(t), bin, row.theirs, fmt.Sprint(trips), fmt.Sprint(cpu)).Output()
			if err != nil {
				t.Fatal(err)
			}
			var c [2]float64
			if _, err := fmt.Sscan(string(out), &c[0], &c[1]); err != nil {
				t.Fatal(err)
			}
			p, m := relayOn(t, cpu, row.ours, trips)
			p50, mean, cp50, cmean, ratios = append(p50, p), append(mean, m), append(cp50, c[0]), append(cmean, c[1]), append(ratios, p/c[0])
		}
		goal := ""
		if row.goal != 0 {
			goal = fmt.Sprintf(", goal %.1f%s", row.goal, verdict(median(ratios) <= row.goal))
		}
		t.Logf("%-17s %6.0f ns (mean %6.0f), C's %-7s %6.0f ns (mean %6.0f): ratio %.2f (%.2f to %.2f)%s",
			row.ours, median(p50), median(mean), row.theirs, median(cp50), median(cmean), median(ratios),
			slices.Min(ratios), slices.Max(ratios), goal)
		if best := slices.Min(ratios); best > hopeless {
			t.Errorf("a round trip through %s takes %.1f times what C's takes, at best", row.ours, best)
		}
	}
}
