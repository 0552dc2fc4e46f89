package futex_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestCase108Bounds(t *testing.T) {
	sem := &newShared[arena](t).Ptr().Sem
	most := futex.MaxTokens
	if err := sem.Init(2, 3); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]int{{3, 2}, {-1, 2}, {0, -1}, {most + 1, 0}, {0, most + 1}} {
		if err := sem.Init(c[0], c[1]); !errors.Is(err, unix.EINVAL) || sem.Value() != 2 {
			t.Errorf("Init(%d, %d): %v, now %d, want 2 as before", c[0], c[1], err, sem.Value())
		}
	}
	if err := sem.Release(); err != nil {
		t.Errorf("the third of 3: %v", err)
	}
	if err := sem.Release(); !errors.Is(err, unix.EOVERFLOW) {
		t.Errorf("the fourth of 3: %v", err)
	}
	for _, c := range [][2]int{{futex.MaxTokens, 0}, {futex.MaxTokens, futex.MaxTokens}, {1, 1}} {
		if err := sem.Init(c[0], c[1]); err != nil {
			t.Fatal(err)
		}
		if err := sem.Release(); !errors.Is(err, unix.EOVERFLOW) || sem.Value() != c[0] {
			t.Errorf("Init(%d, %d), Release: %v, now %d", c[0], c[1], err, sem.Value())
		}
		if err := errors.Join(sem.Acquire(bg), sem.Release()); err != nil || sem.Value() != c[0] {
			t.Errorf("Init(%d, %d), Acquire, Release: %v, now %d", c[0], c[1], err, sem.Value())
		}
	}
}

func TestCase109Empty(t *testing.T) {
	var sem futex.Semaphore // zero: no token
	for range 2 {
		if sem.TryAcquire() || sem.Value() != 0 {
			t.Errorf("a token of none, %d left", sem.Value())
		}
		for n := range 3 {
			if err := sem.Release(); err != nil || sem.Value() != n+1 {
				t.Errorf("%v, %d tokens, want %d", err, sem.Value(), n+1)
			}
		}
		for n := range 3 {
			if !sem.TryAcquire() || sem.Value() != 2-n {
				t.Errorf("%d tokens, want %d", sem.Value(), 2-n)
			}
		}
	}
}

func TestCase111EndedContext(t *testing.T) {
	sem := &newShared[arena](t).Ptr().Sem
	ended, cancel := context.WithDeadline(bg, time.Unix(0, 0))
	defer cancel()
	for name, acquire := range map[string]func(context.Context) error{"Acquire": sem.Acquire, "AcquireOwned": sem.AcquireOwned} {
		if err := sem.Release(); err != nil {
			t.Fatal(err)
		}
		if err := acquire(ended); err != nil {
			t.Errorf("%s of a token that is there: %v", name, err)
		}
		if err := acquire(ended); err != context.DeadlineExceeded || sem.Value() != 0 {
			t.Errorf("%s of none: %v, %d left", name, err, sem.Value())
		}
	}
}

// storm sends this process's threads the runtime's own signal, which does nothing,
// until the test ends.
func storm(t *testing.T) {
	stop := make(chan struct{})
	var out sync.WaitGroup
	out.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				poke(os.Getpid())
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		out.Wait()
	})
}

// poke sends that signal to all threads.
func poke(pid int) { fuzz.Poke(pid, unix.SIGURG) }

func TestCase112Signals(t *testing.T) {
	storm(t)
	sem := &newShared[arena](t).Ptr().Sem
	const tokens, workers = 2, 6
	if err := sem.Init(tokens, tokens); err != nil {
		t.Fatal(err)
	}
	var in atomic.Int32
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range times(100, 250, 20000) {
				if err := sem.Acquire(within(t)); err != nil {
					t.Error(err)
					return
				}
				if n := in.Add(1); n > tokens {
					t.Errorf("%d have a token of %d", n, tokens)
				}
				time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
				in.Add(-1)
				if err := sem.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := sem.Value(); n != tokens {
		t.Errorf("%d tokens, want %d", n, tokens)
	}
}

// A wake and the end of some waiters' contexts come at one time. One token or
// lock is given in a round; who gets it hands it on. So all whose context has
// not ended get it, and in the end it is there once.
func TestCase113CancelAgainstWake(t *testing.T) {
	const crowd = 8
	s := newShared[arena](t)
	a := s.Ptr()
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	inside := 0 // -race vouches for the edges, too
	section := func() {
		if inside++; inside != 1 {
			t.Errorf("%d inside", inside)
		}
		inside--
	}
	then := func(err error, leave func()) error {
		if err == nil {
			section()
			leave()
		}
		return err
	}
	for _, c := range []struct {
		name        string
		begin, wake func()
		wait        func(context.Context) error
		end         func() bool
	}{
		{"Mutex", a.Mutex.Lock, a.Mutex.Unlock,
			func(ctx context.Context) error { return then(a.Mutex.LockContext(ctx), a.Mutex.Unlock) },
			func() bool { defer a.Mutex.Unlock(); return a.Mutex.TryLock() }},
		{"RobustMutex", func() { must(a.Robust.Lock()) }, func() { must(a.Robust.Unlock()) },
			func(ctx context.Context) error {
				return then(a.Robust.LockContext(ctx), func() { must(a.Robust.Unlock()) })
			},
			func() bool {
				ok, err := a.Robust.TryLock()
				must(errors.Join(err, a.Robust.Unlock()))
				return ok
			}},
		{"Semaphore", func() {}, func() { must(a.Sem.Release()) },
			func(ctx context.Context) error {
				return then(a.Sem.Acquire(ctx), func() { must(a.Sem.Release()) })
			},
			func() bool { return a.Sem.TryAcquire() && a.Sem.Value() == 0 }},
		{"Semaphore, owned", func() {}, func() { must(a.Sem.Release()) },
			func(ctx context.Context) error {
				return then(a.Sem.AcquireOwned(ctx), func() { must(a.Sem.ReleaseOwned()) })
			},
			func() bool { return a.Sem.TryAcquire() && a.Sem.Value() == 0 }},
		{"Event", func() {}, a.Event.Set, a.Event.Wait,
			func() bool { a.Event.Reset(); return !a.Event.IsSet() }},
	} {
		rounds := times(1000, 100000/crowd, 1000000)
		var passed atomic.Int64
		begin := time.Now()
		dog := time.AfterFunc(hang, func() { panic(c.name + ": somebody sleeps on") })
		for range rounds {
			dog.Reset(hang)
			c.begin()
			var out sync.WaitGroup
			var cancels [crowd]context.CancelFunc
			last := rand.IntN(crowd + 1) // from here on they are not cancelled
			for i := range crowd {
				ctx, cancel := context.WithCancel(bg)
				cancels[i] = cancel
				out.Go(func() {
					switch err := c.wait(ctx); {
					case err == nil:
						passed.Add(1)
					case err != context.Canceled || i >= last:
						t.Errorf("%s: waiter %d, %d are cancelled: %v", c.name, i, last, err)
					}
				})
			}
			for pause := rand.IntN(2000); pause > 0; pause-- {
				if pause%500 == 0 {
					runtime.Gosched()
				}
			}
			out.Go(c.wake)
			for _, cancel := range cancels[:last] {
				cancel()
			}
			out.Wait()
			for _, cancel := range cancels[last:] {
				cancel()
			}
			if !c.end() {
				t.Fatalf("%s: it is lost, or there twice: %d", c.name, a.Sem.Value())
			}
		}
		dog.Stop()
		t.Logf("%-16s %d waits, %d got through, in %v", c.name, crowd*rounds, passed.Load(), time.Since(begin))
	}
}

var (
	// impatient takes tokens with 1 ms of patience, and gives them back.
	impatient = as("wait for 1 ms", func(ctx context.Context, a *arena) error {
		a.In.Add(1)
		for ctx.Err() == nil {
			c, cancel := context.WithTimeout(bg, time.Millisecond)
			err := a.Sem.Acquire(c)
			cancel()
			if err == nil {
				time.Sleep(time.Duration(rand.IntN(400)) * time.Microsecond)
				err = a.Sem.Release()
			}
			if err != nil && err != context.DeadlineExceeded {
				return err
			}
		}
		return nil
	})
	patient = as("wait for a token", func(ctx context.Context, a *arena) error {
		a.In.Add(1)
		for ctx.Err() == nil {
			if err := a.Sem.Acquire(ctx); err != nil {
				break
			}
			a.Done.Add(1)
			if err := a.Sem.Release(); err != nil {
				return err
			}
			time.Sleep(200 * time.Microsecond)
		}
		return nil
	})
)

// Sleepers come and go by their own clocks, and one token goes round. Whoever
// waits patiently is never left asleep while it lies there.
func TestCase116TokenAndTimeouts(t *testing.T) {
	s := newShared[arena](t)
	a := s.Ptr()
	if err := a.Sem.Init(1, 2); err != nil {
		t.Fatal(err)
	}
	actors := start(t, s, impatient, impatient, impatient, impatient, impatient, impatient, patient, patient)
	until(t, "all there", func() bool { return a.In.Load() == 8 })
	length := time.Second
	if testing.Short() {
		length = 200 * time.Millisecond
	} else if *long {
		length = 10 * time.Minute
	}
	moved, last := time.Now(), a.Done.Load()
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n := a.Sem.Value(); n > 1 {
			t.Fatalf("%d tokens of 1", n)
		}
		if n := a.Done.Load(); n != last {
			moved, last = time.Now(), n
		}
		if since := time.Since(moved); since > hang {
			t.Fatalf("the patient have had no token for %v, and there are %d", since, a.Sem.Value())
		}
	}
	for _, p := range actors {
		if err := p.Terminate(); err != nil {
			t.Error(err)
		}
	}
	finish(t, actors...)
	t.Logf("the patient had %d tokens", last)
	if n := a.Sem.Value(); n != 1 {
		t.Errorf("%d tokens in the end, want 1", n)
	}
}

// Who got the token unmaps the memory, while the giver may still be in the call.
func TestCase117UnmappedBehindTheToken(t *testing.T) {
	rounds := times(100, 1000, 100000)
	for i := range rounds {
		s, err := shm.New[futex.Semaphore](nil)
		if err != nil {
			t.Fatal(err)
		}
		sem := s.Ptr()
		var out sync.WaitGroup
		out.Go(func() {
			if i%2 == 0 {
				time.Sleep(time.Duration(rand.IntN(60)) * time.Microsecond)
			}
			if err := sem.Release(); err != nil {
				t.Error(err)
			}
		})
		if err := sem.Acquire(bg); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		out.Wait()
	}
}

// loot is a token that a thief comes by for while its giver stands anywhere in
// Release: he takes it and gives it back. The one who slept through it in
// another process still gets it.
var loot = fuzz.RegisterOp("futex/loot", 4096, func(seg *fuzz.Segment) fuzz.Op {
	r, err := futex.Attach(seg.Mem, seg.File)
	if err != nil {
		panic(err)
	}
	sem, err := futex.At[futex.Semaphore](seg.Mem, 0)
	if err != nil {
		panic(err)
	}
	return fuzz.Op{
		Do:    sem.Release,
		Close: r.Detach,
		Check: func(bool) error {
			if n := sem.Value(); n != 1 {
				return fmt.Errorf("%d tokens, want 1", n)
			}
			return nil
		},
		Casts: []fuzz.Cast{{Name: "sleeper and thief", Peers: []fuzz.Peer{
			{Name: "sleeper", When: fuzz.Asleep, Run: func(*fuzz.Cue) error {
				return errors.Join(sem.Acquire(bg), sem.Release())
			}},
			{Name: "thief", When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
				defer c.Ready()
				if !sem.TryAcquire() {
					return nil
				}
				return sem.Release()
			}},
		}}},
	}
})

// The thief's unmapping is his own process's: it is case 117 that has one in
// the giver's.
func TestCase118StolenAndReturned(t *testing.T) {
	fuzz.PauseEach(t, loot, &fuzz.Options{Patience: time.Second})
}

func TestCase119Bounded(t *testing.T) {
	for _, most := range []int{1, 2, 7} {
		sem := &newShared[arena](t).Ptr().Sem
		if err := sem.Init(most, most); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := sem.Release(); !errors.Is(err, unix.EOVERFLOW) || sem.Value() != most {
				t.Errorf("bound %d: %v, now %d", most, err, sem.Value())
			}
			for range most {
				if !sem.TryAcquire() {
					t.Errorf("bound %d: a token is gone", most)
				}
			}
			for range most {
				if err := sem.Release(); err != nil {
					t.Errorf("bound %d: %v", most, err)
				}
			}
		}
	}
}

var taker = as("take a token and die", func(ctx context.Context, a *arena) error {
	if err := a.Sem.Acquire(ctx); err != nil {
		return err
	}
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
})

// The contract of a plain token; that of an owned one is in robust_test.go.
func TestCase122PlainTokensAreLost(t *testing.T) {
	s := newShared[arena](t)
	sem := &s.Ptr().Sem
	if err := sem.Init(2, 2); err != nil {
		t.Fatal(err)
	}
	p := start(t, s, taker)
	p[0].Wait(bg)
	ctx, cancel := context.WithTimeout(bg, 600*time.Millisecond)
	defer cancel()
	if err := errors.Join(sem.Acquire(ctx), sem.Release()); err != nil || sem.Value() != 1 {
		t.Errorf("%v, %d tokens, want the other one", err, sem.Value())
	}
}

var eventWaiter = as("wait for the event", func(ctx context.Context, a *arena) error {
	if err := a.Event.Wait(ctx); err != nil {
		return err
	}
	a.Done.Add(1)
	return nil
})

// Reset right behind Set: who slept in any process has seen the event.
func TestCase125SetThenResetProcesses(t *testing.T) {
	for range times(1, 5, 200) {
		s := newShared[arena](t)
		actors := start(t, s, eventWaiter, eventWaiter, eventWaiter, eventWaiter)
		untilAsleep(t, actors...)
		s.Ptr().Event.Set()
		s.Ptr().Event.Reset()
		finish(t, actors...)
	}
}

func TestCase127SleepersKilled(t *testing.T) {
	for round := range times(1, 5, 200) {
		s := newShared[arena](t)
		a := s.Ptr()
		actors := start(t, s, eventWaiter, eventWaiter, eventWaiter, eventWaiter, eventWaiter, eventWaiter)
		untilAsleep(t, actors...)
		rand.Shuffle(len(actors), func(i, j int) { actors[i], actors[j] = actors[j], actors[i] })
		if round%2 == 0 {
			kill(t, actors[:3]...)
			a.Event.Set()
		} else { // the set and the deaths at one time
			var all sync.WaitGroup
			for _, p := range actors[:3] {
				all.Go(func() { p.Kill() })
			}
			a.Event.Set()
			all.Wait()
		}
		finish(t, actors[3:]...)
		if n := a.Done.Load(); n < 3 {
			t.Errorf("%d were woken, want 3", n)
		}
	}
}
