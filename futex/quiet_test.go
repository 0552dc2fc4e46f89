package futex_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
)

// quietly are the sleeps that should make no system call, by the role that
// sleeps so, and the number of looks that they may take in a second: usually,
// without futex_waitv, and where the kernel isn't told what they sleep on.
var quietly = []struct {
	role                   string
	looks, without, untold int
}{
	{waiter, 0, 0, 0},
	{plainWaiter, 0, 0, 0},
	{as("sleep in Mutex.Lock", func(_ context.Context, a *arena) error { lockAndUnlock(&a.Mutex); return nil }), 0, 0, 4},
	{as("sleep in Mutex.LockContext", func(ctx context.Context, a *arena) error { return a.Mutex.LockContext(ctx) }), 0, 0, 4},
	{as("sleep in RobustMutex.Lock", func(_ context.Context, a *arena) error { return a.Robust.Lock() }), 4, 4, 4},
	{as("sleep in RobustMutex.LockContext", func(ctx context.Context, a *arena) error { return a.Robust.LockContext(ctx) }), 4, 4, 4},
	{as("sleep in Semaphore.Acquire", func(ctx context.Context, a *arena) error { return a.Sem.Acquire(ctx) }), 0, 4, 4},
	{as("sleep in Semaphore.Acquire without a context", func(_ context.Context, a *arena) error { return a.Sem.Acquire(bg) }), 0, 4, 4},
	{as("sleep in Event.Wait", func(ctx context.Context, a *arena) error { return a.Event.Wait(ctx) }), 0, 0, 0},
	{as("sleep in Event.Wait without a context", func(_ context.Context, a *arena) error { return a.Event.Wait(bg) }), 0, 0, 0},
	{as("sleep in Barrier.Wait", func(ctx context.Context, a *arena) error { return sleepIn(ctx, &a.Bar[0]) }), 1, 4, 4},
	{as("sleep in Barrier.Wait without a context", func(_ context.Context, a *arena) error { return sleepIn(bg, &a.Bar[1]) }), 1, 4, 4},
	{as("sleep in WaitAny", func(ctx context.Context, a *arena) error {
		_, err := futex.WaitAny(ctx, futex.Word{Addr: &a.Word})
		return err
	}), 0, 100, 0},
}

func sleepIn(ctx context.Context, b *futex.Barrier) error {
	if err := b.Init(2); err != nil {
		return err
	}
	_, err := b.Wait(ctx)
	return err
}

// A thread that makes a system call has to be awake for it, and to fall asleep
// again: the kernel counts that. Who sleeps here is in a process of its own,
// that has nothing else to do, and the count of its thread stands still for a
// second, but for what is documented: a robust lock's waiter looks for its
// owner.
func TestSleepIsQuiet(t *testing.T) {
	if fuzz.Noise() {
		t.Skip("this run has signals that wake sleepers")
	}
	s := newShared[arena](t)
	a := s.Ptr()
	a.Mutex.Lock()
	if err := a.Robust.Lock(); err != nil {
		t.Fatal(err)
	}
	type sleeper struct{ files [2]string } // of the thread: its switches, its call
	var all []sleeper
	for _, q := range quietly {
		p := start(t, s, q.role)
		untilAsleep(t, p...)
		var tid string
		until(t, "asleep between two looks", func() bool {
			tids := sleepers(p[0].Pid())
			if len(tids) > 0 {
				tid = tids[0]
			}
			return tid != ""
		})
		dir := fmt.Sprintf("/proc/%d/task/%s/", p[0].Pid(), tid)
		all = append(all, sleeper{[2]string{dir + "status", dir + "syscall"}})
	}
	count := func() (n []int) {
		for _, sl := range all {
			sum := 0
			for _, kind := range []string{"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"} {
				x, err := strconv.Atoi(field(t, sl.files[0], kind))
				if err != nil {
					t.Fatal(err)
				}
				sum += x
			}
			n = append(n, sum)
		}
		return n
	}
	time.Sleep(50 * time.Millisecond) // the last one has just lain down
	before, began := count(), time.Now()
	time.Sleep(time.Second)
	after, took := count(), time.Since(began)
	for i, q := range quietly {
		n := after[i] - before[i]
		// A look costs more than one switch where the thread has to wait for
		// the runtime to let it run, or for the CPU: on a busy machine, under the
		// race detector, 17 were seen for 4 looks.
		looks := q.looks
		if fuzz.Without("futex_waitv") {
			looks = q.without
		}
		if !futex.Told() {
			looks = max(looks, q.untold)
		}
		most := 10 * int(float64(looks)*took.Seconds())
		t.Logf("%-45s woke %d times in %v", q.role, n, took.Round(time.Millisecond))
		if n > most {
			t.Errorf("%s: woke %d times in %v, want at most %d", q.role, n, took, most)
		}
	}
	a.Mutex.Unlock()
	if err := a.Robust.Unlock(); err != nil {
		t.Error(err)
	}
}
