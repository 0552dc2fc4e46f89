package pool_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pool"
)

// The figures that the pool shall have, each beside what it is measured by, in
// turns in one run. The fastest turn tells most on a machine that others use,
// too. A figure is printed with its goal; it fails the test only if it is beyond
// 20 times the goal and, taken together, 5 s.

type figure struct {
	what, beside string
	ours, theirs float64 // ns, bytes: the fastest of all turns
	goal         float64 // ours is to be at most so many times theirs
	spent        time.Duration
}

func (f *figure) turn(ours, theirs func() float64) {
	if f.ours == 0 {
		f.ours, f.theirs = math.Inf(1), math.Inf(1)
	}
	f.theirs = min(f.theirs, theirs())
	start := time.Now()
	f.ours = min(f.ours, ours())
	f.spent += time.Since(start)
}

func (f *figure) tell(t *testing.T) {
	t.Helper()
	show := func(n float64) string { return time.Duration(n).Round(10 * time.Nanosecond).String() }
	if strings.Contains(f.what, "memory") {
		show = func(n float64) string { return fmt.Sprintf("%.1f MiB", n/(1<<20)) }
	}
	t.Logf("%-44s %10s, %s %10s: %.2f times it, goal %.2f", f.what, show(f.ours), f.beside, show(f.theirs), f.ours/f.theirs, f.goal)
	if f.ours > 20*f.goal*f.theirs && f.spent > 5*time.Second {
		t.Errorf("%s: beyond 20 times the goal", f.what)
	}
}

func fixed(d time.Duration) func() float64 { return func() float64 { return float64(d) } }

// number runs a program that prints one.
func number(t *testing.T, name string, args ...string) func() float64 {
	return func() float64 {
		out, err := exec.CommandContext(within(t), name, args...).Output()
		n, err2 := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil || err2 != nil {
			t.Fatalf("%s %s: %q, %v", name, args, out, err)
		}
		return n
	}
}

// median is that of what f takes, after some turns to get warm.
func median(rounds int, f func()) float64 {
	all := make([]float64, rounds)
	for i := range rounds + rounds/10 {
		start := time.Now()
		f()
		all[i%rounds] = float64(time.Since(start))
	}
	slices.Sort(all)
	return all[rounds/2]
}

func TestFigures(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has figures of its own")
	}
	gcc, c := fuzz.Tool(t, "gcc"), filepath.Join(t.TempDir(), "beside")
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Werror", "-o", c, "testdata/beside.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	turns, rounds := 3, 3000
	if testing.Short() {
		turns, rounds = 2, 500
	}
	call := func(p *pool.Pool) func() float64 {
		return func() float64 {
			return median(rounds, func() {
				if n, err := double.Call(bg, p, 1); n != 2 || err != nil {
					t.Fatal(n, err)
				}
			})
		}
	}
	t.Run("Call", func(t *testing.T) {
		cpus := affinity(t)
		p := poolOf(t, &pool.Config{Workers: 1, CPUs: cpus[len(cpus)-1:]})
		defer pin(t, 1)() // all of this process: the worker has the last CPU
		q := poolOf(t, &pool.Config{Workers: 1, CPUs: cpus[:1]})
		two := figure{what: "Call of an int, two CPUs, median", beside: "the limit", goal: 1}
		one := figure{what: "Call of an int, one CPU, median", beside: "C's futexes there", goal: 1.2}
		for range turns {
			if len(cpus) > 1 {
				two.turn(call(p), fixed(time.Microsecond))
			}
			one.turn(call(q), number(t, c, "futex", strconv.Itoa(rounds)))
		}
		if len(cpus) > 1 {
			two.tell(t)
		}
		one.tell(t)
	})
	t.Run("Big", func(t *testing.T) {
		size := 64 << 20
		if testing.Short() {
			size = 8 << 20
		}
		p, in, out := newPool(t, 1), bytes.Repeat([]byte{7}, size), make([]byte, size)
		big := figure{what: fmt.Sprintf("%d MiB there and back", size>>20), beside: "C's copies", goal: 1 / 0.8}
		for range turns {
			big.turn(func() float64 {
				best := math.Inf(1)
				for range 3 {
					start := time.Now()
					if err := echo.CallInto(bg, p, in, &out); err != nil || len(out) != size {
						t.Fatal(len(out), err)
					}
					best = min(best, float64(time.Since(start)))
				}
				return best
			}, number(t, c, "copies", strconv.Itoa(size), "3"))
		}
		big.tell(t)
	})
	t.Run("Map", func(t *testing.T) {
		n := 1_000_000
		if testing.Short() {
			n = 50_000
		}
		in, p := slices.Collect(count(n)), newPool(t, min(2, pool.CPUs()))
		channel := figure{what: fmt.Sprintf("Map of %d ints", n), beside: "a goroutine behind a channel", goal: 1}
		for range max(2, turns/2) {
			channel.turn(func() float64 {
				return median(3, func() {
					if out, err := double.Map(bg, p, in); err != nil || out[n-1] != 2*(n-1) {
						t.Fatal(err)
					}
				})
			}, func() float64 {
				start := time.Now()
				byChannel(in)
				return float64(time.Since(start))
			})
		}
		channel.tell(t)
		if testing.Short() {
			return
		}
		python := python(t)
		for what, goal := range map[string]float64{"map": 1. / 10, "map1": 1. / 50} {
			f := figure{what: channel.what, beside: map[string]string{"map": "Python's", "map1": "Python's, chunksize 1"}[what],
				ours: channel.ours, theirs: python[what], goal: goal}
			f.tell(t)
		}
		call := figure{what: "Call of an int, median", beside: "Python's apply", ours: call(p)(), theirs: python["apply"], goal: 1. / 35}
		call.tell(t)
		ready, memory := figure{what: "8 workers ready", beside: "Python's, forked", goal: 1}, figure{what: "memory of an idle worker", beside: "Python's", goal: 1}
		for range turns {
			ready.turn(func() float64 {
				start := time.Now()
				p := newPool(t, 8)
				took := float64(time.Since(start))
				rss := int64(0)
				for _, w := range p.Stats().Workers {
					rss += w.RSS
				}
				memory.ours, memory.theirs = float64(rss)/8, python["rss"]
				p.Close()
				return took
			}, func() float64 { return python["ready"] })
		}
		ready.tell(t)
		memory.tell(t)
	})
	t.Run("Spare", func(t *testing.T) {
		p := poolOf(t, &pool.Config{Workers: 1, Spares: 2})
		// What it takes to wake a worker that sleeps is not the spare's: a call to
		// the same pool with no death before it is measured, too.
		after := func(death bool) func() float64 {
			return func() float64 {
				all := make([]float64, 3*turns)
				for i := range all {
					until(t, "spares", func() bool { return p.Stats().Idle == 3 })
					time.Sleep(5 * time.Millisecond)
					if death {
						die.Call(bg, p, int(syscall.SIGKILL))
					}
					start := time.Now()
					if _, err := double.Call(bg, p, 1); err != nil {
						t.Fatal(err)
					}
					all[i] = float64(time.Since(start))
				}
				slices.Sort(all)
				return all[len(all)/2]
			}
		}
		spare := figure{what: "a call after a death, median", beside: "without one", goal: 1.5}
		for range turns {
			spare.turn(after(true), after(false))
		}
		spare.tell(t)
		t.Logf("a spare is ready in %v", time.Duration(spare.ours-spare.theirs))
	})
}

// byChannel is what Map is measured by: one goroutine, one value at a time.
func byChannel(in []int) []int {
	todo, done := make(chan int), make(chan int)
	go func() {
		for n := range todo {
			done <- 2 * n
		}
		close(done)
	}()
	out := make([]int, len(in))
	for i, n := range in {
		todo <- n
		out[i] = <-done
	}
	close(todo)
	<-done
	return out
}

// Each line a name and a number: ns and bytes.
const pythonFigures = `
import os, time, multiprocessing as mp
now = time.perf_counter
def double(n): return 2*n
def rss(pid): return int(open("/proc/%d/statm" % pid).read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
if __name__ == "__main__":
    ctx = mp.get_context("fork")
    t = now(); p = ctx.Pool(8); p.map(double, range(8), 1); print("ready", 1e9*(now()-t))
    print("rss", sum(rss(w.pid) for w in p._pool)/8)
    p.terminate()
    p = ctx.Pool(2)
    p.map(double, range(1000))
    t = now(); p.map(double, range(20000), 1); print("map1", 50*1e9*(now()-t))
    t = now(); p.map(double, range(1000000)); print("map", 1e9*(now()-t))
    a = []
    for i in range(1000):
        t = now(); p.apply(double, (i,)); a.append(now()-t)
    a.sort(); print("apply", 1e9*a[500])
    p.terminate()
`

func python(t *testing.T) map[string]float64 {
	const most = 20 * 5 * time.Second // it takes 2 s, and 5 s beside others
	ctx, cancel := context.WithTimeout(bg, most)
	defer cancel()
	out, err := exec.CommandContext(ctx, fuzz.Tool(t, "python3"), "-c", pythonFigures).Output()
	if err != nil {
		t.Fatalf("python3: %v", err)
	}
	all := make(map[string]float64)
	for line := range strings.Lines(string(out)) {
		var name string
		var n float64
		fmt.Sscan(line, &name, &n)
		all[name] = n
	}
	return all
}
