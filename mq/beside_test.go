package mq_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// A tripper is one of two processes that send a message to and fro.
type tripper struct {
	There, Back string
	Result      *mq.Queue
	First       bool
	Trips       int
}

var runTrips = proc.Register("mq-trips", func(ctx context.Context, a tripper) error {
	there, err := mq.Open(a.There, os.O_RDWR)
	if err != nil {
		return err
	}
	defer there.Close()
	back, err := mq.Open(a.Back, os.O_RDWR)
	if err != nil {
		return err
	}
	defer back.Close()
	buf := make([]byte, 64)
	if !a.First {
		for range a.Trips {
			if _, _, err := there.Recv(ctx, buf); err != nil {
				return err
			}
			if err := back.Send(ctx, buf, 0); err != nil {
				return err
			}
		}
		return nil
	}
	took := make([]time.Duration, a.Trips)
	start := time.Now()
	last := start
	for i := range took {
		if err := there.Send(ctx, buf, 0); err != nil {
			return err
		}
		if _, _, err := back.Recv(ctx, buf); err != nil {
			return err
		}
		now := time.Now()
		took[i], last = now.Sub(last), now
	}
	slices.Sort(took)
	return a.Result.Send(ctx, fmt.Append(nil, took[a.Trips/2].Nanoseconds(), " ", last.Sub(start).Nanoseconds()/int64(a.Trips)), 0)
})

func trips(t testing.TB, n int, cpus []int) (p50, mean float64) {
	t.Helper()
	there, thereName := fresh(t, small(10))
	back, backName := fresh(t, small(10))
	res, _ := fresh(t, small(1))
	// Each message wakes the poller of every process that has the queue open:
	// as with C, these are two.
	must(t, there.Close())
	must(t, back.Close())
	var p [2]*proc.Process
	for i := range p {
		p[i] = start(t, runTrips, &proc.Cmd{CPUs: cpus[i : i+1]}, tripper{thereName, backName, res, i == 0, n})
	}
	for _, p := range p {
		ends(t, p)
	}
	buf := make([]byte, 64)
	size, _, _, err := res.TryRecv(buf)
	must(t, err)
	if _, err := fmt.Sscan(string(buf[:size]), &p50, &mean); err != nil {
		t.Fatal(err)
	}
	return p50, mean
}

// hopeless is where a ratio is no noise any more.
const hopeless = 20

// Round trips of 64 bytes between two processes. On one CPU the time is the
// queue's; on two it is the machine's, and has no goal. C sleeps in mq_receive(3);
// ours yields its CPU before it sleeps, and on two CPUs then hardly sleeps at
// all. C and Go take turns, for the machine's speed changes from second to second.
func TestBesideC(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies the time")
	}
	bin := compilePeer(t)
	cpus := theCPUs(t)
	for _, row := range []struct {
		name   string
		cpus   []int
		goal   float64 // 0: none
		trips  int
		rounds int
	}{
		{"one CPU", []int{cpus[0], cpus[0]}, 1.15, 2000, times(3, 5, 31)},
		{"two CPUs", []int{cpus[0], cpus[len(cpus)-1]}, 0, 500, times(1, 3, 15)},
	} {
		if row.goal == 0 && len(cpus) < 2 {
			t.Log("there is one CPU only")
			continue
		}
		// Others may have the CPUs for all of the rounds: then there are more.
		var p50, mean, cp50, cmean, ratios []float64
		begun := time.Now()
		for len(ratios) < row.rounds || slices.Min(ratios) > hopeless && time.Since(begun) < hang {
			ctx, cancel := context.WithTimeout(bg, hang)
			out, err := exec.CommandContext(ctx, bin, "trips", fmt.Sprint(row.trips), fmt.Sprint(row.cpus[0]), fmt.Sprint(row.cpus[1])).Output()
			cancel()
			must(t, err)
			var c [2]float64
			if _, err := fmt.Sscan(string(out), &c[0], &c[1]); err != nil {
				t.Fatal(err)
			}
			p, m := trips(t, row.trips, row.cpus)
			p50, mean, cp50, cmean, ratios = append(p50, p), append(mean, m), append(cp50, c[0]), append(cmean, c[1]), append(ratios, p/c[0])
		}
		goal := ""
		if row.goal != 0 {
			verdict := "met"
			if median(ratios) > row.goal {
				verdict = "NOT MET"
			}
			goal = fmt.Sprintf(", goal %.2f: %s", row.goal, verdict)
		}
		t.Logf("%-8s %6.0f ns (mean %6.0f), C's %6.0f ns (mean %6.0f): ratio %.2f (%.2f to %.2f)%s",
			row.name, median(p50), median(mean), median(cp50), median(cmean), median(ratios), slices.Min(ratios), slices.Max(ratios), goal)
		if best := slices.Min(ratios); best > hopeless {
			t.Errorf("%s: a round trip takes %.1f times what C's takes, at best", row.name, best)
		}
	}
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// theCPUs are those that this process may run on.
func theCPUs(t testing.TB) (cpus []int) {
	t.Helper()
	var set unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &set))
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}
