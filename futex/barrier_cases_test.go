package futex_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// gate is a barrier, and what its parties have seen.
type gate struct {
	Barrier futex.Barrier
	Leaders atomic.Int64
	Passed  atomic.Int64
	Broken  atomic.Int64
	Acted   int64 // written by the action only
}

func newGate(t testing.TB, parties int) (*shm.Shared[gate], *gate) {
	t.Helper()
	s := newShared[gate](t)
	if err := s.Ptr().Barrier.Init(parties); err != nil {
		t.Fatal(err)
	}
	return s, s.Ptr()
}

// pass waits once. A broken barrier is counted, and is no error.
func (g *gate) pass(ctx context.Context) error {
	leader, err := g.Barrier.Wait(ctx)
	return g.passed(leader, err)
}

func (g *gate) passed(leader bool, err error) error {
	switch {
	case errors.Is(err, futex.ErrBroken):
		g.Broken.Add(1)
		return nil
	case err != nil:
		return err
	case leader:
		g.Leaders.Add(1)
	}
	g.Passed.Add(1)
	return nil
}

type party struct {
	Gate   *shm.Shared[gate]
	Rounds int
	Act    bool // each has an action
}

var pass = proc.Register("pass", func(ctx context.Context, p party) error {
	g := p.Gate.Ptr()
	for i := range p.Rounds {
		if !p.Act {
			if err := g.pass(ctx); err != nil {
				return err
			}
			continue
		}
		// Nobody has left the round before, nor comes to the next one, while
		// the action runs: this needs no lock.
		err := g.passed(g.Barrier.WaitFunc(ctx, func() error { g.Acted++; return nil }))
		if err != nil {
			return err
		}
		if n := atomic.LoadInt64(&g.Acted); n < int64(i+1) || n > int64(i+2) {
			return fmt.Errorf("%d actions after round %d", n, i+1)
		}
	}
	return nil
})

func startParty(t testing.TB, p party) *proc.Process {
	t.Helper()
	c, err := pass.Start(within(t), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Kill(); c.Wait(bg) })
	return c
}

// wait until n are there.
func (g *gate) came(t testing.TB, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d at the barrier", n), func() bool { return g.Barrier.Waiting() == n })
}

// sleeps waits until a process sleeps in a futex call on shared memory; what it
// does before it takes no time worth speaking of.
func sleeps() { time.Sleep(10 * time.Millisecond) }

func (g *gate) want(t testing.TB, passed, leaders, broken int64) {
	t.Helper()
	until(t, fmt.Sprintf("%d passed, %d broken", passed, broken), func() bool {
		return g.Passed.Load() >= passed && g.Broken.Load() >= broken
	})
	if p, l, b := g.Passed.Load(), g.Leaders.Load(), g.Broken.Load(); p != passed || l != leaders || b != broken {
		t.Errorf("%d passed, %d as leader, %d met a broken barrier; want %d, %d, %d", p, l, b, passed, leaders, broken)
	}
}

func TestCase145Parties(t *testing.T) {
	var b futex.Barrier
	for _, n := range []int{0, -1, futex.MaxParties + 1} {
		if err := b.Init(n); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Init(%d): %v", n, err)
		}
	}
	if _, err := b.Wait(bg); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Wait without Init: %v", err)
	}
	does(t, b.Init(1))
	for range 3 {
		if leader, err := b.Wait(bg); !leader || err != nil {
			t.Errorf("Wait of a single party: %v, %v", leader, err)
		}
	}
	does(t, b.Init(futex.MaxParties))
}

func TestCase147AllButOne(t *testing.T) {
	s, g := newGate(t, 4)
	var all []*proc.Process
	for range 3 {
		all = append(all, startParty(t, party{Gate: s, Rounds: 1}))
	}
	g.came(t, 3)
	for i := range 100 {
		p := all[i%3]
		poke(p.Pid())
		if i%20 == 0 {
			stopped(t, p)
			does(t, p.Signal(unix.SIGCONT))
		}
	}
	sleeps()
	g.want(t, 0, 0, 0)
	does(t, g.pass(within(t)))
	for _, p := range all {
		succeeds(t, p)
	}
	g.want(t, 4, 1, 0)
	if n := g.Barrier.Waiting(); n != 0 || g.Barrier.IsBroken() {
		t.Errorf("%d wait, broken: %v", n, g.Barrier.IsBroken())
	}
}

// Who has waited long sleeps in another way, each time for good.
func TestBarrierAfterALongWait(t *testing.T) {
	for name, ctx := range map[string]context.Context{"context": within(t), "none": bg} {
		_, g := newGate(t, 2)
		passed := make(chan error, 1)
		go func() { passed <- g.pass(ctx) }()
		g.came(t, 1)
		time.Sleep(futex.LongWait() + 50*time.Millisecond)
		if len(passed) > 0 {
			t.Fatalf("%s: passed alone: %v", name, <-passed)
		}
		does(t, g.pass(bg))
		select {
		case err := <-passed:
			does(t, err)
		case <-time.After(hang):
			t.Fatalf("%s: the first sleeps on", name)
		}
	}
}

// Who has passed may close at once, though the others are still on their way.
func TestCase148ThenUnmap(t *testing.T) {
	for range 50 {
		s, err := shm.New[gate](func(g *gate) error { return g.Barrier.Init(3) })
		if err != nil {
			t.Fatal(err)
		}
		g := s.Ptr()
		var here sync.WaitGroup
		for range 3 {
			here.Go(func() {
				if _, err := g.Barrier.Wait(within(t)); err != nil {
					t.Error(err)
				}
				err := s.Close()
				for ; errors.Is(err, unix.EBUSY); err = s.Close() {
					time.Sleep(10 * time.Microsecond)
				}
				if err != nil && !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
			})
		}
		here.Wait()
	}
}

func TestCase149Wrap(t *testing.T) {
	s, g := newGate(t, 3)
	var passed int64
	for _, row := range []struct {
		round uint64
		ends  uint32
	}{{futex.BarrierRounds - 3, 0}, {futex.BarrierRounds/2 - 3, 1<<31 - 5}, {0, futex.BarrierEnds - 5}, {futex.BarrierRounds - 1, futex.BarrierEnds - 1}} {
		g.Barrier.Preset(row.round, row.ends)
		a, b := startParty(t, party{Gate: s, Rounds: 10}), startParty(t, party{Gate: s, Rounds: 10})
		for range 10 {
			does(t, g.pass(within(t)))
		}
		succeeds(t, a)
		succeeds(t, b)
		passed += 30
		g.want(t, passed, passed/3, 0)
	}
}

// A party does not wake before the barrier has gone all around, and looks as it
// did.
func TestCase149AllAround(t *testing.T) {
	s, g := newGate(t, 2)
	p := startParty(t, party{Gate: s, Rounds: 1})
	g.came(t, 1)
	sleeps()
	stopped(t, p)
	g.Barrier.Preset(0, futex.BarrierRounds)
	does(t, p.Signal(unix.SIGCONT))
	succeeds(t, p)
	g.want(t, 0, 0, 1)
}

func TestCase150Timeout(t *testing.T) {
	s, g := newGate(t, 4)
	a, b := startParty(t, party{Gate: s, Rounds: 1}), startParty(t, party{Gate: s, Rounds: 1})
	g.came(t, 2)
	const limit = 20 * time.Millisecond
	start := time.Now()
	ctx, cancel := context.WithTimeout(bg, limit)
	defer cancel()
	if _, err := g.Barrier.Wait(ctx); err != context.DeadlineExceeded || time.Since(start) < limit {
		t.Errorf("Wait: %v after %v", err, time.Since(start))
	}
	succeeds(t, a)
	succeeds(t, b)
	g.want(t, 0, 0, 2)
	if !g.Barrier.IsBroken() {
		t.Error("not broken")
	}
	does(t, g.pass(bg)) // at once
	g.want(t, 0, 0, 3)
	usable(t, s, 3)
}

// usable resets the barrier and has four parties pass it.
func usable(t *testing.T, s *shm.Shared[gate], broken int64) {
	t.Helper()
	g := s.Ptr()
	g.Barrier.Reset()
	if g.Barrier.IsBroken() || g.Barrier.Waiting() != 0 {
		t.Errorf("after Reset: broken %v, %d wait", g.Barrier.IsBroken(), g.Barrier.Waiting())
	}
	before := g.Passed.Load()
	p := startParty(t, party{Gate: s, Rounds: 5})
	var here sync.WaitGroup
	for range 3 {
		here.Go(func() {
			for range 5 {
				does(t, g.pass(within(t)))
			}
		})
	}
	here.Wait()
	succeeds(t, p)
	if n := g.Passed.Load() - before; n != 20 || g.Broken.Load() != broken {
		t.Errorf("%d passed, want 20; %d met a broken barrier, want %d", n, g.Broken.Load(), broken)
	}
}

func TestCase150BreakAndReset(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(b *futex.Barrier)
	}{
		{"break", func(b *futex.Barrier) { b.Break(); b.Break() }},
		{"reset", func(b *futex.Barrier) { b.Reset(); b.Reset() }},
		{"break, reset", func(b *futex.Barrier) { b.Break(); b.Reset() }},
		{"reset, break", func(b *futex.Barrier) { b.Reset(); b.Break() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, g := newGate(t, 4)
			p := startParty(t, party{Gate: s, Rounds: 1})
			var here sync.WaitGroup
			for range 2 {
				here.Go(func() { does(t, g.pass(within(t))) })
			}
			g.came(t, 3)
			row.do(&g.Barrier)
			here.Wait()
			succeeds(t, p)
			g.want(t, 0, 0, 3)
			usable(t, s, 3)
		})
	}
}

// A party has not yet left its round when the next ones are begun and reset.
func TestCase150ResetWhileLeaving(t *testing.T) {
	s, g := newGate(t, 2)
	p := startParty(t, party{Gate: s, Rounds: 1})
	g.came(t, 1)
	sleeps()
	stopped(t, p)
	does(t, g.pass(bg))
	g.Barrier.Reset() // of an empty barrier
	var here sync.WaitGroup
	for i := range 3 {
		here.Go(func() { does(t, g.pass(within(t))) })
		g.came(t, 1)
		if i == 1 {
			g.Barrier.Break()
		}
		g.Barrier.Reset()
		here.Wait()
	}
	g.want(t, 1, 1, 3)
	does(t, p.Signal(unix.SIGCONT))
	succeeds(t, p)
	g.want(t, 2, 1, 3)
}

func TestCase151ActionOnce(t *testing.T) {
	s, g := newGate(t, 4)
	const rounds = 100
	var all []*proc.Process
	for range 4 {
		all = append(all, startParty(t, party{s, rounds, true}))
	}
	for _, p := range all {
		succeeds(t, p)
	}
	g.want(t, 4*rounds, rounds, 0)
	if g.Acted != rounds {
		t.Errorf("%d actions in %d rounds", g.Acted, rounds)
	}
}

func TestCase151ActionFails(t *testing.T) {
	errOwn := errors.New("out of paint")
	for _, row := range []struct {
		name   string
		act    func(b *futex.Barrier) error
		want   error
		broken bool // afterwards
	}{
		{"error", func(*futex.Barrier) error { return errOwn }, errOwn, true},
		{"panic", func(*futex.Barrier) error { panic(errOwn) }, errOwn, true},
		{"broken meanwhile", func(b *futex.Barrier) error { b.Break(); return nil }, futex.ErrBroken, true},
		{"reset meanwhile", func(b *futex.Barrier) error { b.Reset(); return nil }, futex.ErrBroken, false},
		{"reset, then an error", func(b *futex.Barrier) error { b.Reset(); return errOwn }, errOwn, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, g := newGate(t, 3)
			a, b := startParty(t, party{Gate: s, Rounds: 1}), startParty(t, party{Gate: s, Rounds: 1})
			g.came(t, 2)
			func() {
				defer func() {
					if r := recover(); r != nil && r != row.want {
						t.Errorf("panic: %v", r)
					}
				}()
				leader, err := g.Barrier.WaitFunc(bg, func() error { return row.act(&g.Barrier) })
				if leader || err != row.want {
					t.Errorf("WaitFunc: %v, %v", leader, err)
				}
			}()
			succeeds(t, a)
			succeeds(t, b)
			g.want(t, 0, 0, 2)
			if b := g.Barrier.IsBroken(); b != row.broken {
				t.Errorf("broken: %v, want %v", b, row.broken)
			}
		})
	}
}

// While the last one acts, one more is refused.
func TestCase151OneTooMany(t *testing.T) {
	_, g := newGate(t, 1)
	leader, err := g.Barrier.WaitFunc(bg, func() error {
		if _, err := g.Barrier.Wait(bg); !errors.Is(err, unix.EINVAL) {
			t.Errorf("one too many: %v", err)
		}
		return nil
	})
	if !leader || err != nil {
		t.Errorf("WaitFunc: %v, %v", leader, err)
	}
}

func TestCase153KilledAfterArriving(t *testing.T) {
	s, g := newGate(t, 3)
	dead, live := startParty(t, party{Gate: s, Rounds: 1}), startParty(t, party{Gate: s, Rounds: 2})
	g.came(t, 2)
	killed(t, dead) // it has come
	does(t, g.pass(within(t)))
	g.came(t, 1)
	// In its place comes another.
	next := startParty(t, party{Gate: s, Rounds: 1})
	does(t, g.pass(within(t)))
	succeeds(t, live)
	succeeds(t, next)
	g.want(t, 5, 2, 0)
}

func TestCase153KilledWhileLeaving(t *testing.T) {
	s, g := newGate(t, 3)
	dead, live := startParty(t, party{Gate: s, Rounds: 1}), startParty(t, party{Gate: s, Rounds: 2})
	g.came(t, 2)
	sleeps()
	stopped(t, dead)
	does(t, g.pass(within(t)))
	g.came(t, 1)
	killed(t, dead)
	next := startParty(t, party{Gate: s, Rounds: 1})
	does(t, g.pass(within(t)))
	succeeds(t, live)
	succeeds(t, next)
	g.want(t, 5, 2, 0)
}
