package futex_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
)

// Nobody else is there: no allocation, whatever the context.
func TestNoAllocsUncontended(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a := newShared[arena](t).Ptr()
	ctx := canceller(t)
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for name, f := range map[string]func(){
		"Mutex":                func() { lockAndUnlock(&a.Mutex) },
		"Mutex, context":       func() { must(a.Mutex.LockContext(ctx)); a.Mutex.Unlock() },
		"Mutex, try":           func() { a.Mutex.TryLock(); a.Mutex.TryLock(); a.Mutex.Unlock() },
		"RobustMutex":          func() { must(a.Robust.Lock()); must(a.Robust.Unlock()) },
		"RobustMutex, context": func() { must(a.Robust.LockContext(ctx)); must(a.Robust.Unlock()) },
		"RobustMutex, try":     func() { a.Robust.TryLock(); a.Robust.TryLock(); must(a.Robust.Unlock()) },
		"Semaphore":            func() { must(a.Sem.Release()); must(a.Sem.Acquire(ctx)) },
		"Semaphore, try":       func() { a.Sem.TryAcquire(); must(a.Sem.Release()); a.Sem.TryAcquire() },
		"Semaphore, owned": func() {
			must(a.Sem.Release())
			must(a.Sem.AcquireOwned(ctx))
			must(a.Sem.ReleaseOwned())
			a.Sem.TryAcquire()
		},
		"Event":                 func() { a.Event.Set(); must(a.Event.Wait(ctx)); a.Event.IsSet(); a.Event.Reset() },
		"Wait of another value": func() { must(futex.Wait(&a.Word, 1)); must(futex.WaitContext(bg, &a.Word, 1)) },
		"Wake of nobody":        func() { futex.Wake(&a.Word, 1) },
		"WaitAny":               func() { futex.WaitAny(bg, futex.Word{Addr: &a.Word, Old: 1}) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Asleep: none without a context that can end, AfterFunc's three with one.
func TestAllocsAsleep(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a := newShared[arena](t).Ptr()
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name         string
		block, leave func()
		wait         func(context.Context)
	}{
		{"Mutex", a.Mutex.Lock, a.Mutex.Unlock,
			func(ctx context.Context) { must(a.Mutex.LockContext(ctx)); a.Mutex.Unlock() }},
		{"RobustMutex", func() { must(a.Robust.Lock()) }, func() { must(a.Robust.Unlock()) },
			func(ctx context.Context) { must(a.Robust.LockContext(ctx)); must(a.Robust.Unlock()) }},
		{"Semaphore", func() {}, func() { must(a.Sem.Release()) },
			func(ctx context.Context) { must(a.Sem.Acquire(ctx)) }},
		{"Event", a.Event.Reset, a.Event.Set,
			func(ctx context.Context) { must(a.Event.Wait(ctx)) }},
	} {
		// The other one takes the lock, lets the waiter sleep on it, and lets go:
		// turn by turn, and it must not allocate either.
		var turn atomic.Int32 // 1: hold, 2: held, -1: over
		var out sync.WaitGroup
		out.Go(func() {
			for {
				switch turn.Load() {
				case 1:
					c.block()
					turn.Store(2)
					time.Sleep(700 * time.Microsecond)
					c.leave()
				case -1:
					return
				}
				time.Sleep(10 * time.Microsecond)
			}
		})
		for name, max := range map[string]float64{"no end": 0, "cancellable": 3} {
			ctx := bg
			if max > 0 {
				ctx = canceller(t)
			}
			n := testing.AllocsPerRun(100, func() {
				turn.Store(1)
				for turn.Load() == 1 {
					runtime.Gosched()
				}
				c.wait(ctx)
			})
			t.Logf("%-11s %-11s %v allocations", c.name, name, n)
			if n > max {
				t.Errorf("%s, %s: %v allocations asleep, want at most %v", c.name, name, n, max)
			}
		}
		turn.Store(-1)
		out.Wait()
	}
}

func lockAndUnlock(l sync.Locker) {
	l.Lock()
	l.Unlock() //lint:ignore SA2001 only the lock counts
}
