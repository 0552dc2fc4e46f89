package futex_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func threads() int {
	tasks, _ := filepath.Glob("/proc/self/task/*")
	return len(tasks)
}

// A crowd of goroutines waits for one primitive; they leave it one after the
// other, or all together.
func TestCase061TwelveThousandWaiters(t *testing.T) {
	const crowd, most = 12000, 200
	s := newShared[arena](t)
	a := s.Ptr()
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name             string
		hold, wait, open func()
	}{
		{"Mutex", a.Mutex.Lock, func() { lockAndUnlock(&a.Mutex) }, a.Mutex.Unlock},
		{"Mutex with a context", a.Mutex.Lock, func() { must(a.Mutex.LockContext(canceller(t))); a.Mutex.Unlock() }, a.Mutex.Unlock},
		{"RobustMutex", func() { must(a.Robust.Lock()) },
			func() { must(a.Robust.Lock()); must(a.Robust.Unlock()) }, func() { must(a.Robust.Unlock()) }},
		{"Semaphore", func() {}, func() { must(a.Sem.Acquire(bg)); must(a.Sem.Release()) }, func() { must(a.Sem.Release()) }},
		{"Event", func() {}, func() { must(a.Event.Wait(bg)) }, a.Event.Set},
	} {
		c.hold()
		var begun atomic.Int32
		var all sync.WaitGroup
		for range crowd {
			all.Go(func() {
				begun.Add(1)
				c.wait()
			})
		}
		until(t, "all begun", func() bool { return begun.Load() == crowd })
		asleep := threads()
		c.open()
		left := make(chan struct{})
		go func() { all.Wait(); close(left) }()
		select {
		case <-left:
		case <-time.After(hang):
			t.Fatalf("%s: after %v some still wait", c.name, hang)
		}
		t.Logf("%-20s %d waited with %d threads", c.name, crowd, asleep)
		if n := max(asleep, threads()); n >= most {
			t.Errorf("%s: %d threads, want fewer than %d", c.name, n, most)
		}
	}
}

func TestCase063TryLockRobust(t *testing.T) {
	m := &newShared[guarded](t).Ptr().Mu
	for range 2 {
		if ok, err := m.TryLock(); !ok || err != nil {
			t.Errorf("free: %v, %v", ok, err)
		}
		if ok, err := m.TryLock(); ok || err != nil {
			t.Errorf("held by this process: %v, %v", ok, err)
		}
		if err := m.Unlock(); err != nil {
			t.Error(err)
		}
	}
}

var foreignUnlock = as("unlock what is another's", func(_ context.Context, a *arena) error {
	if ok, err := a.Robust.TryLock(); ok || err != nil {
		return fmt.Errorf("TryLock: %v, %v", ok, err)
	}
	if err := a.Robust.Unlock(); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("Unlock: %v", err)
	}
	if err := a.Robust.MarkConsistent(); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("MarkConsistent: %v", err)
	}
	ctx, cancel := briefly()
	defer cancel()
	if err := a.Robust.LockContext(ctx); err != context.DeadlineExceeded {
		return fmt.Errorf("LockContext: %v", err)
	}
	return nil
})

// What a process does not hold it can't unlock, and the lock stays as it was.
// (Of a Mutex nobody knows the owner: only one that is free is refused, with a
// panic: TestMutexUnlockOfUnlocked.)
func TestCase065UnlockOfAnothers(t *testing.T) {
	s := newShared[arena](t)
	m := &s.Ptr().Robust
	if err := m.Lock(); err != nil {
		t.Fatal(err)
	}
	finish(t, start(t, s, foreignUnlock)...)
	if ok, err := m.TryLock(); ok || err != nil {
		t.Errorf("after the other's attempt: %v, %v", ok, err)
	}
	if err := m.Unlock(); err != nil {
		t.Error(err)
	}
	if err := m.Unlock(); !errors.Is(err, unix.EPERM) {
		t.Errorf("unlocked twice: %v", err)
	}
	if err := m.Lock(); err != nil {
		t.Error(err)
	}
	m.Unlock()
}

// A lock belongs to the process: the end of the goroutine that took it, and of
// its thread, changes nothing, and another one may unlock it.
func TestCase074GoroutineEnds(t *testing.T) {
	s := newShared[arena](t)
	a := s.Ptr()
	for _, thread := range []bool{false, true} {
		gone := make(chan int)
		go func() {
			if thread {
				runtime.LockOSThread() // and never back: the thread ends
			}
			a.Mutex.Lock()
			if err := a.Robust.Lock(); err != nil {
				t.Error(err)
			}
			gone <- unix.Gettid()
		}()
		tid := <-gone
		if thread && tid != os.Getpid() { // the first thread never ends
			until(t, "the thread is gone", func() bool {
				_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid))
				return err != nil
			})
		}
		if a.Mutex.TryLock() {
			t.Error("the Mutex was free")
		}
		if ok, err := a.Robust.TryLock(); ok || err != nil {
			t.Errorf("the RobustMutex was free: %v, %v", ok, err)
		}
		finish(t, start(t, s, foreignUnlock)...)
		a.Mutex.Unlock()
		if err := a.Robust.Unlock(); err != nil {
			t.Error(err)
		}
	}
}

var (
	holder = as("hold the lock", func(ctx context.Context, a *arena) error {
		if err := a.Robust.LockContext(ctx); err != nil {
			return err
		}
		a.In.Add(1)
		<-ctx.Done()
		return nil
	})
	heir = as("wait for the lock", func(ctx context.Context, a *arena) error {
		switch err := a.Robust.LockContext(ctx); {
		case errors.Is(err, futex.ErrOwnerDead):
			a.Dead.Add(1)
			if err := a.Robust.MarkConsistent(); err != nil {
				return err
			}
		case err != nil:
			return err
		}
		a.Plain++
		return a.Robust.Unlock()
	})
)

func TestCase076ThreeAsleep(t *testing.T) {
	for range times(2, 10, 200) {
		func() {
			s := newShared[arena](t)
			a := s.Ptr()
			owner := start(t, s, holder)
			until(t, "locked", func() bool { return a.In.Load() == 1 })
			heirs := start(t, s, heir, heir, heir)
			untilAsleep(t, heirs...)
			kill(t, owner...)
			finish(t, heirs...)
			if a.Dead.Load() != 1 || a.Plain != 3 {
				t.Errorf("%d were told of the death, %d went in; want 1 and 3", a.Dead.Load(), a.Plain)
			}
		}()
	}
}

// racer takes the lock as soon as it can, once a turn.
var racer = as("race for the lock", func(ctx context.Context, a *arena) error {
	for turn := uint32(1); ; turn++ {
		for a.Go.Load() != turn {
			if ctx.Err() != nil {
				return nil
			}
			time.Sleep(20 * time.Microsecond)
		}
		var err error
		if turn%2 == 0 {
			err = a.Robust.LockContext(ctx)
		} else {
			for ok := false; !ok && err == nil; {
				ok, err = a.Robust.TryLock()
			}
		}
		if errors.Is(err, futex.ErrOwnerDead) {
			a.Dead.Add(1)
			err = a.Robust.MarkConsistent()
		}
		if err != nil {
			return err
		}
		a.Plain++
		if err := a.Robust.Unlock(); err != nil {
			return err
		}
		a.Done.Add(1)
	}
})

func TestCase077TwoRecover(t *testing.T) {
	s := newShared[arena](t)
	a := s.Ptr()
	start(t, s, racer, racer)
	for turn := range int32(times(4, 30, 2000)) {
		owner := start(t, s, holder)
		until(t, "locked", func() bool { return a.In.Load() == turn+1 })
		if turn%3 == 0 { // they are at it when it happens
			a.Go.Store(uint32(turn) + 1)
		}
		kill(t, owner...)
		a.Go.Store(uint32(turn) + 1)
		until(t, "both through", func() bool { return a.Done.Load() == 2*int64(turn+1) })
		if n := a.Dead.Load(); n != turn+1 || a.Plain != 2*int64(turn+1) {
			t.Fatalf("turn %d: %d told of a death, %d went in", turn, n, a.Plain)
		}
	}
}

const manyLocks = 4096

type warehouse struct {
	Locks [manyLocks]futex.RobustMutex
	Held  atomic.Bool
}

func holdAll(ctx context.Context, s *shm.Shared[warehouse]) error {
	w := s.Ptr()
	for i := range w.Locks {
		if err := w.Locks[i].Lock(); err != nil {
			return fmt.Errorf("lock %d: %w", i, err)
		}
	}
	w.Held.Store(true)
	<-ctx.Done()
	return nil
}

// The kernel walks 2,048 entries of one list; a second guardian takes the rest.
func TestCase083ManyLocks(t *testing.T) {
	s := newShared[warehouse](t)
	w := s.Ptr()
	p, err := holdEverything.Start(bg, s)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "all held", w.Held.Load)
	asleep := make(chan error, 1)
	last := &w.Locks[manyLocks-1]
	go func() { asleep <- last.LockContext(within(t)) }()
	time.Sleep(20 * time.Millisecond)
	kill(t, p)
	begin := time.Now()
	if err := <-asleep; err != futex.ErrOwnerDead {
		t.Errorf("asleep on the last: %v", err)
	}
	t.Logf("who slept on the last lock had it after %v", time.Since(begin))
	for i := range w.Locks[:manyLocks-1] {
		if ok, err := w.Locks[i].TryLock(); !ok || err != futex.ErrOwnerDead {
			t.Fatalf("lock %d: %v, %v", i, ok, err)
		}
	}
}

// worker uses one primitive after the other, and sleeps while it holds it, so
// that the others do too.
var worker = as("work and rest", func(ctx context.Context, a *arena) error {
	rest := func() { time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond) }
	for range a.Go.Load() {
		a.Mutex.Lock()
		a.Plain++
		rest()
		a.Mutex.Unlock()
		if err := a.Robust.Lock(); err != nil {
			return err
		}
		a.Guarded++
		rest()
		if err := a.Robust.Unlock(); err != nil {
			return err
		}
		if err := a.Sem.Acquire(bg); err != nil {
			return err
		}
		a.Done.Add(1)
		rest()
		if err := a.Sem.Release(); err != nil {
			return err
		}
	}
	return nil
})

// Several processes sleep for one thing at a time, and a wake for one is not
// the last: those behind it are remembered. (The kernel sees one sleeper of a
// process, so that takes several.)
func TestSleepersOfManyProcesses(t *testing.T) {
	s := newShared[arena](t)
	a := s.Ptr()
	if err := a.Sem.Release(); err != nil {
		t.Fatal(err)
	}
	rounds := times(100, 200, 20000)
	a.Go.Store(uint32(rounds))
	actors := start(t, s, worker, worker, worker, worker, worker)
	for _, p := range actors { // as long as it takes, but for one that sleeps on
		last := int64(-1)
		for p.Alive() {
			ctx, cancel := context.WithTimeout(bg, hang)
			p.Wait(ctx)
			cancel()
			if n := a.Done.Load(); n == last && p.Alive() {
				t.Fatalf("nothing moves any more: %d, %d, %d of %d", a.Plain, a.Guarded, n, 5*rounds)
			} else {
				last = n
			}
		}
	}
	finish(t, actors...)
	want := int64(5 * rounds)
	if a.Plain != want || a.Guarded != want || a.Done.Load() != want {
		t.Errorf("%d, %d, %d sections, want %d each", a.Plain, a.Guarded, a.Done.Load(), want)
	}
}

// Two loops that never stop, and one who comes now and then.
func TestCase091SpinnersAndASleeper(t *testing.T) {
	for _, kind := range []string{"Mutex", "RobustMutex", "Semaphore"} {
		s, err := shm.New(func(c *contest) error { return c.sem.Init(1, 0) })
		if err != nil {
			t.Fatal(err)
		}
		c := s.Ptr()
		var longest time.Duration
		var stop []func()
		for who := range 2 {
			p, err := contend.Start(bg, contestant{s, who, kind})
			if err != nil {
				t.Fatal(err)
			}
			stop = append(stop, func() { finish(t, p) })
		}
		until(t, "two processes at it", func() bool { return c.ready.Load() == 2 })
		for range times(5, 20, 500) {
			var err error
			begin := time.Now()
			switch kind {
			case "Mutex":
				if err = c.mutex.LockContext(within(t)); err == nil {
					c.mutex.Unlock()
				}
			case "RobustMutex":
				if err = c.robust.LockContext(within(t)); err == nil {
					err = c.robust.Unlock()
				}
			case "Semaphore":
				if err = c.sem.Acquire(within(t)); err == nil {
					err = c.sem.Release()
				}
			}
			if err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			longest = max(longest, time.Since(begin))
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
		c.stop.Store(true)
		for _, f := range stop {
			f()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("%-11s waited %v at most", kind, longest)
	}
}

var mutexKeeper = as("mutex keeper", func(ctx context.Context, a *arena) error {
	a.Mutex.Lock()
	a.In.Add(1)
	<-ctx.Done()
	return ctx.Err()
})

// A plain Mutex is not robust: a dead holder keeps it, and who waits leaves by
// his context.
func TestMutexOfTheDead(t *testing.T) {
	s := newShared[arena](t)
	a := s.Ptr()
	keeper := start(t, s, mutexKeeper)
	until(t, "it is locked", func() bool { return a.In.Load() == 1 })
	kill(t, keeper...)
	if a.Mutex.TryLock() {
		t.Fatal("locked a dead process's Mutex")
	}
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	if err := a.Mutex.LockContext(ctx); err != context.DeadlineExceeded {
		t.Errorf("LockContext: %v", err)
	}
	a.Mutex.Unlock() // as another process may
	if !a.Mutex.TryLock() {
		t.Error("not free after Unlock")
	}
}
