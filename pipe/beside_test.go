package pipe_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

var long = flag.Bool("long", false, "also run the forms of the tests that take minutes")

// hopeless is a ratio that says something is broken rather than slow: the figure
// itself is only reported, since the machine has others to serve.
const hopeless = 20

type runner struct {
	In, Out, Result *pipe.Conn
	First, Trip     bool
	Count, Size     int
}

// runRunner sends messages there, and back if Trip, as peer_pipe.c does.
var runRunner = proc.Register("runRunner", func(ctx context.Context, a runner) error {
	// A context with an end, as any real program has.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	buf := bytes.Repeat([]byte{1}, a.Size)
	// The clock starts when both are there: C forks, which takes no time.
	if !a.First {
		if err := a.Out.Send(ctx, buf[:1]); err != nil {
			return err
		}
		for range a.Count {
			if _, err := a.In.Recv(ctx, buf); err != nil {
				return err
			}
			if a.Trip {
				if err := a.Out.Send(ctx, buf); err != nil {
					return err
				}
			}
		}
		if !a.Trip {
			return a.Out.Send(ctx, buf[:1])
		}
		return nil
	}
	if _, err := a.In.Recv(ctx, buf); err != nil {
		return err
	}
	took := make([]time.Duration, a.Count)
	start := time.Now()
	last := start
	for i := range took {
		if err := a.Out.Send(ctx, buf); err != nil {
			return err
		}
		if !a.Trip {
			continue
		}
		if _, err := a.In.Recv(ctx, buf); err != nil {
			return err
		}
		now := time.Now()
		took[i], last = now.Sub(last), now
	}
	if !a.Trip {
		if _, err := a.In.Recv(ctx, buf); err != nil {
			return err
		}
		bytes := float64(a.Count) * float64(a.Size)
		return a.Result.Send(ctx, fmt.Appendf(nil, "%f 0", bytes/time.Since(start).Seconds()))
	}
	slices.Sort(took)
	return a.Result.Send(ctx, fmt.Appendf(nil, "%d %d", took[a.Count/2], int(last.Sub(start))/a.Count))
})

// ours returns what peer_pipe prints, of two processes on these CPUs.
func ours(t *testing.T, kind string, trip bool, count, size int, cpus []int) (x, y float64) {
	t.Helper()
	var a, b runner
	var err error
	var conns []*pipe.Conn
	if kind == "pipe" {
		b.In, a.Out, err = pipe.OneWay()
		must(t, err)
		a.In, b.Out, err = pipe.OneWay()
		conns = []*pipe.Conn{a.In, a.Out, b.In, b.Out}
	} else {
		open := pipe.Pair
		if kind == "packet" {
			open = pipe.PacketPair
		}
		a.In, b.In, err = open()
		a.Out, b.Out = a.In, b.In
		conns = []*pipe.Conn{a.In, b.In}
	}
	must(t, err)
	result, theirs, err := pipe.Pair()
	must(t, err)
	a.Result, a.First = theirs, true
	a.Trip, b.Trip, a.Count, b.Count, a.Size, b.Size = trip, trip, count, count, size, size
	ctx, cancel := context.WithTimeout(bg, time.Minute)
	defer cancel()
	var ps [2]*proc.Process
	for i, r := range []runner{a, b} {
		ps[i], err = runRunner.StartCmd(ctx, &proc.Cmd{CPUs: cpus}, r)
		must(t, err)
	}
	for _, c := range append(conns, theirs) {
		c.Close()
	}
	msg, err := result.RecvAlloc(ctx, 100)
	must(t, err)
	must(t, result.Close())
	for _, p := range ps {
		_, err := p.Wait(ctx)
		must(t, err)
	}
	_, err = fmt.Sscan(string(msg), &x, &y)
	must(t, err)
	return x, y
}

// Round trips on one CPU, where the time is not the hypervisor's, and the flow
// of large messages. Ours and C's take turns. C sleeps in read(2) and write(2);
// ours yields its CPU before it sleeps, which on two CPUs, where it then hardly
// sleeps at all, is another thing: those figures are for information.
func TestBesideC(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies the time")
	}
	bin := buildC(t, "peer_pipe")
	taskset := fuzz.Tool(t, "taskset")
	var set unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &set))
	var cpus []int
	for i := range 1024 {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	one, two := cpus[:1], cpus[:min(2, len(cpus))]
	trips, msgs, n := 500, 500, 1
	if *long {
		trips, msgs, n = 10_000, 10_000, 15
	}
	for _, row := range []struct {
		kind string
		trip bool
		size int
		on   []int
		goal float64 // of ours to C's; 0: none
	}{
		{"pipe", true, 64, one, 1.15},
		{"stream", true, 64, one, 1.15},
		{"packet", true, 64, one, 1.15},
		{"pipe", true, 64, two, 0},
		{"stream", true, 64, two, 0},
		{"pipe", false, 64, one, 1},
		{"stream", false, 64, one, 1},
		{"packet", false, 64, one, 1},
		{"pipe", false, 65536, one, 1},
		{"stream", false, 65536, one, 1},
		{"packet", false, 65536, one, 1},
		{"pipe", false, 1 << 20, one, 1},
		{"stream", false, 1 << 20, one, 1},
		{"pipe", false, 64, two, 0},
		{"pipe", false, 65536, two, 0},
		{"stream", false, 65536, two, 0},
	} {
		what, count := "trip", trips
		if !row.trip {
			what, count = "flow", max(msgs/4, min(20*msgs, msgs*65536/row.size))
		}
		t.Run(fmt.Sprintf("%s=%s/size=%d/cpus=%d", what, row.kind, row.size, len(row.on)), func(t *testing.T) {
			list := fmt.Sprint(row.on[0])
			if len(row.on) > 1 {
				list = fmt.Sprintf("%d,%d", row.on[0], row.on[1])
			}
			peer := func(what string) (c float64) {
				out, err := exec.Command(taskset, "-c", list, bin, what, row.kind, fmt.Sprint(count), fmt.Sprint(row.size)).Output()
				must(t, err)
				_, err = fmt.Sscan(string(out), &c)
				must(t, err)
				return c
			}
			// Others may have the CPU for all of the rounds: then there are more.
			var we, they, framed, ratios []float64
			best := 0.0
			for start := time.Now(); len(ratios) < n || len(row.on) == 1 && best*hopeless < 1 && time.Since(start) < hang; {
				c := peer(what)
				o, _ := ours(t, row.kind, row.trip, count, row.size, row.on)
				we, they, ratios = append(we, o), append(they, c), append(ratios, o/c)
				if row.trip {
					best = max(best, c/o)
				} else {
					best = max(best, o/c)
				}
				if !row.trip && row.kind != "packet" {
					framed = append(framed, o/peer("framed"))
				}
			}
			ratio, met := median(ratios), true
			unit, scale := "us", 1e3
			if row.trip {
				met = ratio <= row.goal
			} else {
				met, unit, scale = ratio >= row.goal, "GB/s", 1e9
			}
			goal := ""
			if framed != nil {
				goal = fmt.Sprintf(", %.2f of C's with a length before each", median(framed))
			}
			if row.goal != 0 {
				goal += fmt.Sprintf(", goal %.2f: %s", row.goal, map[bool]string{true: "met", false: "NOT MET"}[met])
			}
			t.Logf("%s %-6s %7d bytes, %d CPU: %6.3f %s, C's %6.3f: ratio %.2f (%.2f to %.2f)%s", what, row.kind, row.size, len(row.on),
				median(we)/scale, unit, median(they)/scale, ratio, slices.Min(ratios), slices.Max(ratios), goal)
			if len(row.on) == 1 && best*hopeless < 1 {
				t.Errorf("%s through a %s: %.2f times C's", what, row.kind, ratio)
			}
		})
	}
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}
