package futex_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// The adaptive wait beside the better of pure spin and pure sleep, in every
// placement. In a round the three come one after the other, so that what else
// the machine does meets them alike; the median of the rounds' ratios says how
// it is on this machine now, the fastest rounds how it is when nobody else has
// the CPUs. Only on one CPU, where others slow all three down alike, does what is
// hopeless in both fail: on two the better is 0.2 µs, and who has to sleep once in
// a leg, because others have the partner's CPU, is hundreds of times as slow.
func TestAdaptiveWait(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies the time")
	}
	const goal = 1.3
	rounds, d := 21, 4*time.Millisecond
	if testing.Short() {
		rounds = 9
	}
	verdict := func(ratio float64) string {
		if ratio > goal {
			return "NOT MET"
		}
		return "met"
	}
	for _, path := range tripPaths {
		for _, place := range placements {
			t.Run("path="+path+"/placement="+place, func(t *testing.T) {
				all := []spinning{pureSpin, pureSleep, adaptive()}
				c := tripsOf(t, path, place, all, []time.Duration{0}, rounds, d)
				spin, sleep, ours := walls(c[0][0]), walls(c[1][0]), walls(c[2][0])
				better := spin
				if median(sleep) < median(spin) {
					better = sleep
				}
				var ratios []float64
				for i := range ours {
					ratios = append(ratios, ours[i]/better[i])
				}
				ratio := median(ratios)
				best := slices.Min(ours) / min(slices.Min(spin), slices.Min(sleep))
				t.Logf("%-5s %-8s: spin %9.0f ns, sleep %7.0f, adaptive %7.0f; of the better %.2f, goal %.1f %s; the fastest %5.0f, %5.0f, %5.0f; %.2f %s",
					path, place, median(spin), median(sleep), median(ours), ratio, goal, verdict(ratio),
					slices.Min(spin), slices.Min(sleep), slices.Min(ours), best, verdict(best))
				if place == "one-cpu" && ratio > hopeless && best > hopeless {
					t.Errorf("the adaptive wait takes %.1f times as long as the better of both, %.1f at best", ratio, best)
				}
			})
		}
	}
}

func walls(c []tripCost) (ns []float64) {
	for _, x := range c {
		ns = append(ns, x.wall)
	}
	return ns
}

// An idler receives a message, and then waits for the next one, which comes
// much later. What that took is in CPU and Wall.
type idler struct {
	In    tripLink
	Spin  time.Duration
	Spent *shm.Shared[[2]atomic.Int64] // of CPU time and of time, in ns
}

var idle = proc.Register("futex_test/idle", func(_ context.Context, i idler) error {
	if i.In.R != nil {
		i.In.R.SetSpin(i.Spin)
	}
	if _, err := i.In.recv(); err != nil {
		return err
	}
	cpu, start := cpuUsed(), time.Now()
	spent := i.Spent.Ptr()
	spent[1].Store(1) // it waits, from now on
	if _, err := i.In.recv(); err != nil {
		return err
	}
	spent[0].Store(cpuUsed() - cpu)
	spent[1].Store(int64(time.Since(start)))
	return nil
})

// Who waits for long uses no CPU time, though the other end is there and was
// fast before. The last one spins all the time, to show that this would be seen.
func TestIdleWaitUsesNoCPU(t *testing.T) {
	d := time.Second
	if testing.Short() {
		d /= 4
	}
	rows := []struct {
		name string
		spin time.Duration
		out  tripLink
		idler
	}{{name: "Ring.Recv"}, {name: "Queue.Recv"}, {name: "a spinning Ring.Recv", spin: time.Hour / 4}}
	ctx := within(t)
	var all []*proc.Process
	for k := range rows {
		i := &rows[k]
		i.Spent, i.Spin = newShared[[2]atomic.Int64](t), i.spin
		var err error
		if i.name == "Queue.Recv" {
			if i.out.Queue, err = shm.NewQueue[uint64](8); err == nil {
				defer i.out.Queue.Close()
			}
			i.In = i.out
		} else if i.out.W, i.In.R, err = shm.NewRing(4096); err == nil {
			defer i.out.W.Close()
			defer i.In.R.Close()
		}
		if err == nil {
			err = i.out.send(1)
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := idle.Start(ctx, i.idler)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for _, i := range rows {
		until(t, "waiting: "+i.name, func() bool { return i.Spent.Ptr()[1].Load() != 0 })
	}
	time.Sleep(d)
	for k := range rows {
		if err := rows[k].out.send(1); err != nil {
			t.Fatal(err)
		}
	}
	for k, p := range all {
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		spent := rows[k].Spent.Ptr()
		cpu, wall := time.Duration(spent[0].Load()), time.Duration(spent[1].Load())
		t.Logf("%-20s used the CPU for %v of %v", rows[k].name, cpu, wall)
		if busy := cpu > wall/30; busy != (rows[k].spin > 0) {
			t.Errorf("%s: %v of CPU time in %v", rows[k].name, cpu, wall)
		}
	}
}
