package shm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Queues and rings beside the same loops in C and in Python, in one run: the
// first half of the processes sends, the other receives, each is bound to a CPU,
// and they go through several short rounds together. On a virtual machine that
// others use too the fastest round tells most. No ratio fails a test: only what
// arrives does, and what doesn't.

const besideRounds = 20 // as in beside.c

// A meeting is what the processes of a comparison have in common.
type meeting struct {
	Ready, Senders atomic.Int64
	Sum            atomic.Uint64
	Begin, End     [besideRounds]atomic.Int64
}

type message [8]uint64

// besideArgs say what one process does, with the fields that its kind needs.
type besideArgs struct {
	Kind       string
	Who, Pairs int
	N, Rounds  int
	Size       int
	Meeting    *shm.Shared[meeting]
	W          *shm.RingWriter
	R          *shm.RingReader
	Queue      *shm.Queue[message]
	Messages   *shm.MessageQueue
	Bytes      *shm.ObjectQueue[[]byte]
	Objects    *shm.ObjectQueue[besideObject]
}

type besideObject struct {
	Number uint64
	Text   string
}

func clock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return unix.TimespecToNsec(ts)
}

var beside = proc.Register("shm_test/beside", func(ctx context.Context, a besideArgs) error {
	m := a.Meeting.Ptr()
	send, recv := a.ends()
	for round := range a.Rounds {
		m.Ready.Add(1)
		for m.Ready.Load() < int64(2*a.Pairs*(round+1)) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
		m.Begin[round].CompareAndSwap(0, clock())
		sum, err := a.play(m, send, recv)
		if err != nil {
			return err
		}
		for t := clock(); ; {
			if was := m.End[round].Load(); was >= t || m.End[round].CompareAndSwap(was, t) {
				break
			}
		}
		m.Sum.Add(sum)
	}
	return nil
})

func (a *besideArgs) play(m *meeting, send func(uint64) error, recv func() (uint64, error)) (sum uint64, err error) {
	switch sends, n := a.Who < a.Pairs, uint64(a.N); {
	case a.Kind == "trip":
		for i := range n {
			if sends {
				err = send(i)
			}
			if err == nil {
				_, err = recv()
			}
			if !sends && err == nil {
				err = send(i)
			}
			if err != nil {
				return 0, err
			}
		}
	case a.Kind == "batch":
		return a.batches(m)
	case sends:
		for i := uint64(1); i <= n; i++ {
			if err := send(i); err != nil {
				return 0, err
			}
		}
		if m.Senders.Add(1)%int64(a.Pairs) == 0 {
			for range a.Pairs {
				err = errors.Join(err, send(0))
			}
		}
	default:
		for {
			x, err := recv()
			if err != nil || x == 0 {
				return sum, err
			}
			sum += x
		}
	}
	return 0, err
}

// batches is play with 32 messages at a time.
func (a *besideArgs) batches(m *meeting) (sum uint64, err error) {
	var buf [32]message
	if a.Who < a.Pairs {
		for i := uint64(1); i <= uint64(a.N); {
			k := 0
			for ; k < len(buf) && i <= uint64(a.N); k++ {
				buf[k][0] = i
				i++
			}
			if _, err := a.Queue.SendBatch(bg, buf[:k]); err != nil {
				return 0, err
			}
		}
		if m.Senders.Add(1)%int64(a.Pairs) == 0 {
			for range a.Pairs {
				err = errors.Join(err, a.Queue.Send(bg, message{}))
			}
		}
		return 0, err
	}
	for {
		k, err := a.Queue.RecvBatch(bg, buf[:])
		ends := 0
		for _, x := range buf[:k] {
			if sum += x[0]; x[0] == 0 {
				ends++
			}
		}
		for ; ends > 1 && err == nil; ends-- { // another's
			err = a.Queue.Send(bg, message{})
		}
		if ends > 0 || err != nil {
			return sum, err
		}
	}
}

// ends are how this process sends and receives a number.
func (a *besideArgs) ends() (send func(uint64) error, recv func() (uint64, error)) {
	buf := make([]byte, max(a.Size, 8))
	number := func(n int, err error) (uint64, error) {
		if err == nil && n != a.Size {
			err = fmt.Errorf("a message of %d bytes, want %d", n, a.Size)
		}
		return binary.LittleEndian.Uint64(buf), err
	}
	put := func(i uint64) []byte {
		binary.LittleEndian.PutUint64(buf, i)
		return buf
	}
	switch a.Kind {
	case "trip":
		return func(uint64) error { return a.W.Send(bg, buf) },
			func() (uint64, error) { return number(a.R.Recv(bg, buf)) }
	case "ring":
		return func(i uint64) error { return a.W.Send(bg, put(i)) },
			func() (uint64, error) { return number(a.R.Recv(bg, buf)) }
	case "queue":
		return func(i uint64) error { return a.Queue.Send(bg, message{i}) },
			func() (uint64, error) { x, err := a.Queue.Recv(bg); return x[0], err }
	case "messages":
		return func(i uint64) error { return a.Messages.Send(bg, put(i)) },
			func() (uint64, error) { return number(a.Messages.Recv(bg, buf)) }
	case "bytes":
		return func(i uint64) error { return a.Bytes.Send(bg, put(i)) },
			func() (uint64, error) {
				x, err := a.Bytes.Recv(bg)
				return number(copy(buf, x), err)
			}
	case "gob":
		text := string(make([]byte, 56))
		return func(i uint64) error { return a.Objects.Send(bg, besideObject{i, text}) },
			func() (uint64, error) { x, err := a.Objects.Recv(bg); return x.Number, err }
	}
	return nil, nil
}

// ours runs a comparison's rounds and returns the ns of a message in each.
func ours(t *testing.T, a besideArgs, capacity int) []float64 {
	t.Helper()
	ctx := watchdog(t, time.Minute)
	a.Rounds = besideRounds
	if a.Size == 0 {
		a.Size = 64
	}
	m, err := shm.New[meeting](nil)
	a.Meeting = m
	var w [2]*shm.RingWriter
	var r [2]*shm.RingReader
	var closers []func() error
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fail(err)
	defer m.Close()
	defer func() {
		for _, c := range closers {
			fail(c())
		}
	}()
	switch a.Kind {
	case "ring", "trip":
		for i := range w {
			w[i], r[i], err = shm.NewRing(capacity)
			fail(err)
			closers = append(closers, w[i].Close, r[i].Close)
		}
	case "queue", "batch":
		a.Queue, err = shm.NewQueue[message](capacity)
		fail(err)
		closers = append(closers, a.Queue.Close)
	case "messages":
		a.Messages, err = shm.NewMessageQueue(capacity)
		fail(err)
		closers = append(closers, a.Messages.Close)
	case "bytes":
		a.Bytes, err = shm.NewObjectQueue[[]byte](capacity, "")
		fail(err)
		closers = append(closers, a.Bytes.Close)
	case "gob":
		a.Objects, err = shm.NewObjectQueue[besideObject](capacity, "")
		fail(err)
		closers = append(closers, a.Objects.Close)
	}
	cpus := twoCPUs(t)
	var all []*proc.Process
	for who := range 2 * a.Pairs {
		a := a
		a.Who = who
		cpu := cpus[who%2]
		if who >= a.Pairs {
			cpu = cpus[1-who%a.Pairs%2]
		}
		switch {
		case a.Kind == "trip":
			a.W, a.R = w[who], r[1-who]
		case a.Kind == "ring" && who == 0:
			a.W = w[0]
		case a.Kind == "ring":
			a.R = r[0]
		}
		all = append(all, started(t)(beside.StartCmd(ctx, &proc.Cmd{CPUs: []int{cpu}}, a)))
	}
	for _, p := range all {
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	total := uint64(a.Rounds * a.Pairs)
	if want, n := m.Ptr().Sum.Load(), uint64(a.N); a.Kind != "trip" && want != total*(n*(n+1)/2) {
		t.Errorf("%s: what arrived sums to %d, want %d", a.Kind, want, total*(n*(n+1)/2))
	}
	var ns []float64
	for i := range a.Rounds {
		ns = append(ns, float64(m.Ptr().End[i].Load()-m.Ptr().Begin[i].Load())/float64(a.Pairs*a.N))
	}
	return ns
}

func twoCPUs(t *testing.T) (cpus [2]int) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	n := 0
	for cpu := 0; cpu < 1024 && n < 2; cpu++ {
		if set.IsSet(cpu) {
			cpus[n] = cpu
			n++
		}
	}
	if n < 2 {
		t.Skip("one CPU")
	}
	return cpus
}

// theirs runs a program that prints such numbers.
func theirs(t *testing.T, name string, args ...any) (ns []float64) {
	t.Helper()
	var text []string
	for _, a := range args {
		text = append(text, fmt.Sprint(a))
	}
	out, err := exec.CommandContext(watchdog(t, time.Minute), name, text...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, text, err)
	}
	for f := range bytes.FieldsSeq(out) {
		x, err := strconv.ParseFloat(string(f), 64)
		if err != nil {
			t.Fatal(err)
		}
		ns = append(ns, x)
	}
	return ns
}

func middle(x []float64) float64 { return slices.Sorted(slices.Values(x))[len(x)/2] }

func TestPeerBesideC(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies the time")
	}
	gcc, bin := fuzz.Tool(t, "gcc"), filepath.Join(t.TempDir(), "beside")
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Werror", "-o", bin, "testdata/beside.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	for _, row := range []struct {
		name     string
		a        besideArgs
		capacity int
		c        []any
		goal     float64 // the speed that ours should have of C's
	}{
		{"Ring, 64 B", besideArgs{Kind: "ring", Pairs: 1, N: 200000}, 64 << 10, []any{"ring", 64, 200000, 64 << 10}, 1},
		{"Ring, 8 B", besideArgs{Kind: "ring", Pairs: 1, N: 200000, Size: 8}, 64 << 10, []any{"ring", 8, 200000, 64 << 10}, 1},
		{"Ring, 1 KiB", besideArgs{Kind: "ring", Pairs: 1, N: 20000, Size: 1 << 10}, 1 << 20, []any{"ring", 1 << 10, 20000, 1 << 20}, 1},
		{"Ring, 64 KiB", besideArgs{Kind: "ring", Pairs: 1, N: 200, Size: 64 << 10}, 1 << 20, []any{"ring", 64 << 10, 200, 1 << 20}, 0.95},
		{"Ring, 1 MiB", besideArgs{Kind: "ring", Pairs: 1, N: 20, Size: 1 << 20}, 4 << 20, []any{"ring", 1 << 20, 20, 4 << 20}, 0.95},
		{"Ring, there and back", besideArgs{Kind: "trip", Pairs: 1, N: 20000}, 64 << 10, []any{"trip", 20000}, 1 / 1.2},
		{"Queue, 1 to 1", besideArgs{Kind: "queue", Pairs: 1, N: 25000}, 1024, []any{"queue", 1, 25000}, 0.7},
		{"Queue, 2 to 2", besideArgs{Kind: "queue", Pairs: 2, N: 50000}, 1024, []any{"queue", 2, 50000}, 0.7},
		{"Queue, 1 to 1, by 32", besideArgs{Kind: "batch", Pairs: 1, N: 50000}, 1024, []any{"queue", 1, 50000}, 1.2},
		{"Queue, 2 to 2, by 32", besideArgs{Kind: "batch", Pairs: 2, N: 25000}, 1024, []any{"queue", 2, 25000}, 1.2},
	} {
		t.Run(row.name, func(t *testing.T) {
			// They take turns, as the two CPUs of a virtual machine are now those of
			// one core and now far apart.
			turns := 1
			if *long {
				turns = 5
			}
			var best, bestC, ratios []float64
			for range turns {
				y, x := slices.Min(theirs(t, bin, row.c...)), slices.Min(ours(t, row.a, row.capacity))
				best, bestC, ratios = append(best, x), append(bestC, y), append(ratios, y/x)
			}
			ratio, met := middle(ratios), "met"
			if ratio < row.goal {
				met = "NOT MET"
			}
			t.Logf("%-21s %8.1f ns (best %8.1f), C %8.1f (%8.1f): %.2f times as fast (%.2f to %.2f), goal %.2f %s", row.name,
				middle(best), slices.Min(best), middle(bestC), slices.Min(bestC), ratio, slices.Min(ratios), slices.Max(ratios), row.goal, met)
		})
	}
}

func TestPeerBesidePython(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies the time")
	}
	python := fuzz.Tool(t, "python3")
	const n = 2000
	py := theirs(t, python, "testdata/mpqueue.py", n, 5)
	t.Logf("Python's Queue: %.0f ns (median %.0f)", slices.Min(py), middle(py))
	for _, row := range []struct {
		name, kind string
		capacity   int
		goal       float64
	}{
		{"Queue", "queue", 1024, 20},
		{"MessageQueue", "messages", 64 << 10, 20},
		{"ObjectQueue[[]byte]", "bytes", 64 << 10, 20},
		{"ObjectQueue by gob", "gob", 64 << 10, 0},
	} {
		x := ours(t, besideArgs{Kind: row.kind, Pairs: 1, N: n}, row.capacity)
		ratio, met := slices.Min(py)/slices.Min(x), fmt.Sprintf("goal %.0f met", row.goal)
		if ratio < row.goal {
			met = fmt.Sprintf("goal %.0f NOT MET", row.goal)
		} else if row.goal == 0 {
			met = "no goal"
		}
		t.Logf("%-20s %8.1f ns (median %8.1f): %.0f times as fast as Python's (%.0f), %s", row.name,
			slices.Min(x), middle(x), ratio, middle(py)/middle(x), met)
	}
}
