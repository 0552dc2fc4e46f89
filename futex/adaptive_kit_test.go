package futex_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// How well the policy of spin.go does, measured where it is used: two processes
// send each other messages by a ring or by a queue each way, under one policy
// after the other, in short legs that take turns, because the machine's speed
// changes from second to second. Each policy has its own rings, and so learns
// only from its own legs.

// A spinning is a policy: the constants of spin.go.
type spinning struct {
	Name   string
	Budget time.Duration // < 0: never spins
	Skips  uint32
	Long   time.Duration // a yield that is too long; 0: never yields
}

// The two that the adaptive one is measured by. What is spun here ends long
// after all that may come.
var (
	pureSpin  = spinning{"spin", time.Minute, 0, 0}
	pureSleep = spinning{"sleep", -1, 0, 0}
)

func adaptive() spinning {
	budget, skips, long := futex.SpinPolicy()
	return spinning{"adaptive", budget, skips, long}
}

// tripPaths are what the messages go by.
var tripPaths = []string{"ring", "queue"}

// A tripLink leads one way.
type tripLink struct {
	W     *shm.RingWriter
	R     *shm.RingReader
	Queue *shm.Queue[uint64]
}

func (l *tripLink) send(x uint64) error {
	if l.Queue != nil {
		return l.Queue.Send(bg, x)
	}
	buf := [8]byte{byte(x)}
	return l.W.Send(bg, buf[:])
}

func (l *tripLink) recv() (uint64, error) {
	if l.Queue != nil {
		return l.Queue.Recv(bg)
	}
	var buf [8]byte
	_, err := l.R.Recv(bg, buf[:])
	return uint64(buf[0]), err
}

// A tripLeg is round trips for a while. Pause is for how long the server works
// before it answers.
type tripLeg struct {
	Spinning int // index of the policy, and of the links
	Pause    time.Duration
	Took     time.Duration
}

// A tripPlan is what one of the two processes does.
type tripPlan struct {
	Client    bool
	Spinnings []spinning
	Out, In   []tripLink
	Legs      []tripLeg
	Log       *shm.Shared[tripLog]
}

const maxLegs = 1024

type tripLog [maxLegs]struct {
	Trips, NS atomic.Int64
	CPU       [2]atomic.Int64 // ns that the server, and the client, used
}

// cpuUsed is what this process has used, in ns.
func cpuUsed() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return unix.TimespecToNsec(ts)
}

// work takes n steps that no compiler leaves out.
func work(n int) uint64 {
	x := uint64(1)
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

// workSpeed is how many steps this machine does in a microsecond. Steps rather
// than a clock, because on a CPU that is shared a clock also counts what the
// other one does.
func workSpeed() int {
	best := time.Hour
	for range 20 {
		start := time.Now()
		if work(10000) == 0 {
			panic("xorshift came to 0")
		}
		best = min(best, time.Since(start))
	}
	return int(10000 * time.Microsecond / best)
}

var trips = proc.Register("futex_test/trips", func(_ context.Context, p tripPlan) error {
	perUs := workSpeed()
	for i, leg := range p.Legs {
		policy := p.Spinnings[leg.Spinning]
		futex.SetSpinPolicy(policy.Budget, policy.Skips, policy.Long)
		out, in, row := &p.Out[leg.Spinning], &p.In[leg.Spinning], &p.Log.Ptr()[i]
		before := cpuUsed()
		play := func() error { return serveTrips(out, in, int(leg.Pause.Microseconds())*perUs) }
		if p.Client {
			play = func() error {
				n, took, err := makeTrips(out, in, leg.Took)
				row.Trips.Store(n)
				row.NS.Store(int64(took))
				return err
			}
		}
		if err := play(); err != nil {
			return fmt.Errorf("leg %d, %+v: %w", i, policy, err)
		}
		who := 0
		if p.Client {
			who = 1
		}
		row.CPU[who].Store(cpuUsed() - before)
	}
	return nil
})

func serveTrips(out, in *tripLink, steps int) error {
	for {
		x, err := in.recv()
		if err != nil {
			return err
		}
		if work(steps) == 0 {
			return fmt.Errorf("xorshift came to 0")
		}
		if err := out.send(x); err != nil || x == 0 {
			return err
		}
	}
}

// makeTrips makes round trips for a time. The last says that it is over.
func makeTrips(out, in *tripLink, d time.Duration) (n int64, took time.Duration, err error) {
	start := time.Now()
	for more := uint64(1); more != 0; n++ {
		if took = time.Since(start); took >= d {
			more = 0
		}
		if err := out.send(more); err != nil {
			return n, 0, err
		}
		if _, err := in.recv(); err != nil {
			return n, 0, err
		}
	}
	return n, time.Since(start), nil
}

// A tripCost is what one round trip took in one leg, in ns.
type tripCost struct{ wall, cpu float64 }

// tripsOf plays rounds in which every policy has its turn with every pause, and
// returns by policy and pause what each round's leg cost.
func tripsOf(t testing.TB, path, place string, all []spinning, pauses []time.Duration, rounds int, d time.Duration) [][][]tripCost {
	t.Helper()
	log := newShared[tripLog](t)
	server := tripPlan{Spinnings: all, Log: log}
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	client := server
	client.Client = true
	for range all {
		for way := range 2 {
			from, to := &client, &server
			if way == 1 {
				from, to = to, from
			}
			var w, r tripLink
			var err error
			switch path {
			case "ring":
				w.W, r.R, err = shm.NewRing(4096)
				fail(err)
				defer w.W.Close()
				defer r.R.Close()
			case "queue":
				w.Queue, err = shm.NewQueue[uint64](8)
				fail(err)
				defer w.Queue.Close()
				r = w
			}
			from.Out, to.In = append(from.Out, w), append(to.In, r)
		}
	}
	for range rounds {
		for _, pause := range pauses {
			for i := range all {
				server.Legs = append(server.Legs, tripLeg{i, pause, max(d, 8*pause)})
			}
		}
	}
	client.Legs = server.Legs
	if len(server.Legs) > maxLegs {
		t.Fatalf("%d legs, want at most %d", len(server.Legs), maxLegs)
	}
	ctx := within(t)
	var both []*proc.Process
	cpus := placement(t, place)
	for i, plan := range []tripPlan{server, client} {
		p, err := trips.StartCmd(ctx, &proc.Cmd{CPUs: cpus[i]}, plan)
		fail(err)
		both = append(both, p)
	}
	for _, p := range both {
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	costs := make([][][]tripCost, len(all))
	for i := range costs {
		costs[i] = make([][]tripCost, len(pauses))
	}
	for k := range server.Legs {
		row := &log.Ptr()[k]
		n := float64(row.Trips.Load())
		i, pause := k%len(all), k/len(all)%len(pauses)
		costs[i][pause] = append(costs[i][pause], tripCost{float64(row.NS.Load()) / n,
			float64(row.CPU[0].Load()+row.CPU[1].Load()) / n})
	}
	return costs
}

// placements are where the two processes run.
var placements = []string{"one-cpu", "two-cpus", "unpinned"}

func placement(t testing.TB, place string) (cpus [2][]int) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	var all []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	switch {
	case place == "one-cpu":
		return [2][]int{all[:1], all[:1]}
	case len(all) < 2:
		t.Skip("one CPU")
	case place == "two-cpus":
		return [2][]int{all[:1], all[1:2]}
	}
	return cpus
}
