package futex_test

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

var bg = context.Background()

// hang bounds a test that could wait for ever; it is not a limit on speed.
const hang = 10 * time.Second

// until polls for a state that another goroutine is about to reach.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: not %s", hang, what)
		}
	}
}

func TestCase042WaitOnAnotherValue(t *testing.T) {
	var w atomic.Uint32
	w.Store(7)
	if err := futex.Wait(&w, 8); err != nil {
		t.Error(err)
	}
	if err := futex.WaitContext(canceller(t), &w, 8); err != nil {
		t.Error(err)
	}
}

func canceller(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(bg)
	t.Cleanup(cancel)
	return ctx
}

func TestCase043Deadlines(t *testing.T) {
	var w atomic.Uint32
	if err := futex.WaitUntil(&w, 0, time.Now().Add(-time.Second)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline in the past: %v", err)
	}
	// A hundred waits, ten at a time.
	rounds, wait := 10, 50*time.Millisecond
	if testing.Short() {
		rounds = 1
	}
	var longest atomic.Int64
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			var w atomic.Uint32
			for range rounds {
				start := time.Now()
				err := futex.WaitUntil(&w, 0, start.Add(wait))
				took := time.Since(start)
				if !errors.Is(err, os.ErrDeadlineExceeded) || took < wait || took > hang {
					t.Errorf("%v after %v, want %v", err, took, wait)
				}
				for old := longest.Load(); int64(took) > old && !longest.CompareAndSwap(old, int64(took)); {
					old = longest.Load()
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d waits of %v, the longest %v", 10*rounds, wait, time.Duration(longest.Load()))
}

func TestCase044BadMemory(t *testing.T) {
	mem, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	w, err := futex.WordAt(mem, os.Getpagesize())
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{1, 2, 3, 5} {
		if _, err := futex.WordAt(mem, off); !errors.Is(err, unix.EINVAL) {
			t.Errorf("offset %d: %v", off, err)
		}
	}
	for _, off := range []int{-4, len(mem) - 3, len(mem), math.MaxInt} {
		if _, err := futex.WordAt(mem, off); !errors.Is(err, unix.EINVAL) {
			t.Errorf("offset %d: %v", off, err)
		}
	}
	if err := unix.Mprotect(mem[os.Getpagesize():], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	if err := futex.Wait(w, 0); !errors.Is(err, unix.EFAULT) {
		t.Errorf("Wait without memory: %v", err)
	}
	if err := futex.WaitContext(canceller(t), w, 0); err == nil {
		t.Error("WaitContext without memory: no error")
	}
	if _, err := futex.Requeue(w, 1, w, 1, 0); !errors.Is(err, unix.EFAULT) {
		t.Errorf("Requeue without memory: %v", err)
	}
}

// Signals neither end a wait nor lengthen it, of a word or of a lock.
func TestCase045Signals(t *testing.T) {
	storm(t)
	a := newShared[arena](t).Ptr()
	a.Mutex.Lock()
	if err := a.Robust.Lock(); err != nil {
		t.Fatal(err)
	}
	locked := make(chan error, 2)
	go func() { locked <- a.Mutex.LockContext(within(t)) }()
	go func() { locked <- a.Robust.LockContext(within(t)) }()
	var w atomic.Uint32
	for range 3 {
		const wait = 300 * time.Millisecond
		start := time.Now()
		err := futex.WaitUntil(&w, 0, start.Add(wait))
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took < wait || took > hang {
			t.Errorf("%v after %v, want %v", err, took, wait)
		}
	}
	if n := len(locked); n != 0 {
		t.Errorf("%d waits for locks that are held have ended", n)
	}
	a.Mutex.Unlock()
	if err := a.Robust.Unlock(); err != nil {
		t.Error(err)
	}
	for range cap(locked) {
		if err := <-locked; err != nil {
			t.Error(err)
		}
	}
}

func TestCase047WakeCounts(t *testing.T) {
	var w atomic.Uint32
	if n, err := futex.Wake(&w, 5); n != 0 || err != nil {
		t.Errorf("nobody there: woke %d, %v", n, err)
	}
	const sleepers = 6
	var out sync.WaitGroup
	for range sleepers {
		out.Go(func() {
			if err := futex.Wait(&w, 0); err != nil {
				t.Error(err)
			}
		})
	}
	woken := 0
	until(t, "all woken", func() bool {
		n, err := futex.Wake(&w, 2)
		if n > 2 || err != nil {
			t.Fatalf("woke %d of at most 2, %v", n, err)
		}
		woken += n
		return woken >= sleepers
	})
	out.Wait()
	if woken != sleepers {
		t.Errorf("%d woken, %d slept", woken, sleepers)
	}
}

func TestCase050NeighboursAreApart(t *testing.T) {
	var w [2]atomic.Uint32
	done := asleep(t, &w[0])
	if n, _ := futex.Wake(&w[1], futex.All); n != 0 {
		t.Errorf("a wake of the next word woke %d", n)
	}
	wakeAll(t, &w[0], done)
}

// asleep puts one goroutine to sleep on w while it is 0. The others rest.
func asleep(t testing.TB, w *atomic.Uint32) <-chan error {
	t.Helper()
	before := len(sleepers(os.Getpid()))
	done := make(chan error, 1)
	go func() { done <- futex.Wait(w, 0) }()
	until(t, "asleep", func() bool { return len(sleepers(os.Getpid())) > before })
	return done
}

func wakeAll(t testing.TB, w *atomic.Uint32, done <-chan error) {
	t.Helper()
	until(t, "woken", func() bool {
		futex.Wake(w, futex.All)
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return true
		default:
			return false
		}
	})
}

func TestCase056UntouchedPage(t *testing.T) {
	fd, err := unix.MemfdCreate("case56", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 1<<16); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	w, err := futex.WordAt(mem, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if err := futex.Wait(w, 1); err != nil {
		t.Error(err)
	}
	wakeAll(t, w, asleep(t, w))
}

func TestCase057FarDeadlines(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Unix(math.MaxInt64/2, 0),
		time.Unix(1<<33, 999999999),
	} {
		var w atomic.Uint32
		done := make(chan error, 1)
		go func() { done <- futex.WaitUntil(&w, 0, at) }()
		select {
		case err := <-done:
			t.Errorf("%v: %v", at, err)
			continue
		case <-time.After(20 * time.Millisecond):
		}
		wakeAll(t, &w, done)
	}
}

// Cancellation and wake at a random moment: of N waits, each ends, and no wake
// that was counted is lost.
func TestWaitContextCancelAgainstWake(t *testing.T) {
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	var w atomic.Uint32
	cancelled := 0
	for range rounds {
		ctx, cancel := context.WithCancel(bg)
		done := make(chan error, 1)
		go func() { done <- futex.WaitContext(ctx, &w, 0) }()
		go cancel()
		n, err := futex.Wake(&w, 1)
		if err != nil {
			t.Fatal(err)
		}
		err = <-done
		if n == 1 && err != nil {
			t.Fatalf("a wake that was counted ended in %v", err)
		}
		if err != nil {
			cancelled++
		}
		cancel()
	}
	t.Logf("%d of %d cancelled", cancelled, rounds)
}

// Asleep, a wait with a context allocates what AfterFunc does, without none.
func TestWaitAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var w, back atomic.Uint32
	stop := atomic.Bool{}
	var out sync.WaitGroup
	out.Go(func() {
		for !stop.Load() {
			if n, _ := futex.Wake(&w, 1); n == 0 {
				time.Sleep(10 * time.Microsecond)
			}
		}
		back.Store(1)
	})
	ctx := canceller(t)
	for _, c := range []struct {
		name string
		max  float64
		wait func()
	}{
		{"Wait", 0, func() { futex.Wait(&w, 0) }},
		{"WaitContext(Background)", 0, func() { futex.WaitContext(bg, &w, 0) }},
		{"WaitContext(cancellable)", 3, func() { futex.WaitContext(ctx, &w, 0) }},
	} {
		if n := testing.AllocsPerRun(300, c.wait); n > c.max {
			t.Errorf("%s: %v allocations, want at most %v", c.name, n, c.max)
		}
	}
	stop.Store(true)
	out.Wait()
}

func TestCheckType(t *testing.T) {
	type inner struct {
		A [3]struct{ Name string }
	}
	mem := make([]byte, 64)
	if _, err := futex.At[inner](mem, 0); err == nil {
		t.Error("a string in a nested array is not refused")
	} else if want := "futex_test.inner.A[].Name is a string"; !contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
	type fine struct {
		M futex.Mutex
		N [4]int32
		_ bool
	}
	if _, err := futex.At[fine](mem, 0); err != nil {
		t.Error(err)
	}
}
