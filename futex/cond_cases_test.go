package futex_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestCase128WaitHoldsTheLock(t *testing.T) {
	either(t, func(t *testing.T, c *futex.Cond, m lockable) {
		joined, done := make(chan struct{}), make(chan error)
		go func() {
			m.lock()
			close(joined)
			err := c.Wait(within(t), m.cond())
			if m.try() {
				err = errors.Join(err, errors.New("the lock was free when Wait returned"))
			}
			m.unlock()
			done <- err
		}()
		<-joined
		m.lock() // not before Wait has given it up
		does(t, c.Signal())
		select {
		case err := <-done:
			t.Errorf("Wait returned, %v, while another had the lock", err)
		case <-time.After(20 * time.Millisecond):
		}
		m.unlock()
		does(t, <-done)
	})
}

func TestCase129NothingIsRemembered(t *testing.T) {
	either(t, func(t *testing.T, c *futex.Cond, m lockable) {
		for range 3 {
			does(t, c.Signal())
			does(t, c.Broadcast())
			does(t, c.Notify(2))
			ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
			m.lock()
			if err := c.Wait(ctx, m.cond()); err != context.DeadlineExceeded {
				t.Errorf("Wait: %v", err)
			}
			m.unlock()
			cancel()
		}
		if err := c.Notify(-1); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Notify(-1): %v", err)
		}
		does(t, c.Notify(0))
	})
}

func TestCase131BroadcastWakesAll(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	const children = 16
	var all []*proc.Process
	for i := range children {
		all = append(all, startGuests(t, s, 2, int64(i)))
	}
	h.came(t, 2*children)
	does(t, h.Cond.Broadcast())
	for _, p := range all {
		succeeds(t, p)
	}
	if n := h.Woken.Load(); n != 2*children {
		t.Errorf("%d woke, want %d", n, 2*children)
	}
}

// Notify(n) wakes exactly n, wherever they are.
func TestCase131NotifySome(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	a, b := startGuests(t, s, 3, 0), startGuests(t, s, 4, 10)
	h.came(t, 7)
	for _, step := range []struct{ n, woken int64 }{{2, 2}, {0, 2}, {3, 5}, {100, 7}} {
		does(t, h.Cond.Notify(int(step.n)))
		until(t, fmt.Sprintf("%d are awake", step.woken), func() bool { return h.Woken.Load() >= step.woken })
		time.Sleep(10 * time.Millisecond)
		if n := h.Woken.Load(); n != step.woken {
			t.Errorf("%d awake, want %d", n, step.woken)
		}
	}
	succeeds(t, a)
	succeeds(t, b)
}

func TestCase132TimedWait(t *testing.T) {
	either(t, func(t *testing.T, c *futex.Cond, m lockable) {
		for _, d := range []time.Duration{-time.Second, 0, time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond} {
			start := time.Now()
			ctx, cancel := context.WithTimeout(bg, d)
			m.lock()
			err := c.Wait(ctx, m.cond())
			took := time.Since(start)
			if m.try() {
				t.Error("the lock was free when Wait returned")
			}
			m.unlock()
			if err != context.DeadlineExceeded || took < d || took > hang {
				t.Errorf("Wait of %v: %v after %v", d, err, took)
			}
			cancel()
		}
	})
}

func TestCase133Signals(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	p := startGuests(t, s, 2, 0)
	h.came(t, 2)
	for i := range 300 {
		poke(p.Pid())
		if i%50 == 49 {
			does(t, p.Signal(unix.SIGSTOP))
			does(t, p.Signal(unix.SIGCONT))
		}
	}
	if n := h.Woken.Load(); n != 0 {
		t.Errorf("signals have ended %d waits", n)
	}
	does(t, h.Cond.Broadcast())
	succeeds(t, p)
}

func TestCase134WaitFor(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	value := 0
	done := make(chan error)
	go func() {
		does(t, h.enter(within(t)))
		h.Came++
		err := h.Cond.WaitFor(within(t), &h.Mu, func() bool { return value == 4 })
		if value != 4 {
			err = fmt.Errorf("WaitFor returned at %d", value)
		}
		does(t, h.Mu.Unlock())
		done <- err
	}()
	h.came(t, 1)
	for range 4 {
		time.Sleep(5 * time.Millisecond)
		does(t, h.enter(within(t)))
		value++
		does(t, h.Cond.Signal())
		does(t, h.Mu.Unlock())
	}
	does(t, <-done)

	const limit = 30 * time.Millisecond
	start, asked := time.Now(), 0
	ctx, cancel := context.WithTimeout(bg, limit)
	defer cancel()
	does(t, h.enter(bg))
	err := h.Cond.WaitFor(ctx, &h.Mu, func() bool { asked++; return false })
	if took := time.Since(start); err != context.DeadlineExceeded || took < limit || asked == 0 {
		t.Errorf("WaitFor: %v after %v, asked %d times", err, took, asked)
	}
	if err := h.Cond.WaitFor(ctx, &h.Mu, func() bool { return true }); err != nil {
		t.Errorf("WaitFor of what is true: %v", err)
	}
	does(t, h.Mu.Unlock())
}

// A signal is owed to a sleeper that can't take it yet. Others come, and none
// of them gets it.
func TestCase135NoStealing(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	owed := startGuests(t, s, 1, 0)
	h.came(t, 1)
	stopped(t, owed)
	does(t, h.Cond.Signal())
	late := startGuests(t, s, 2, 10)
	errs := make(chan error)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	for i := range 2 {
		go func() { errs <- h.wait(ctx, 20+int64(i)) }()
	}
	h.came(t, 5)
	time.Sleep(200 * time.Millisecond) // to steal it in
	cancel()
	for range 2 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("a late waiter: %v", err)
		}
	}
	does(t, owed.Signal(unix.SIGCONT))
	succeeds(t, owed)
	if n := h.Woken.Load(); n != 1 {
		t.Errorf("%d woke of one signal", n)
	}
	does(t, h.Cond.Notify(2))
	succeeds(t, late)
}

// Signals go to those that wait in the order in which they came: in one process
// and over several.
func TestCase135Generations(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	var all []*proc.Process
	var want []int64
	for i := range int64(4) {
		all = append(all, startGuests(t, s, 1, i))
		want = append(want, i)
		h.came(t, i+1)
	}
	var here sync.WaitGroup
	for i := range int64(4) {
		here.Go(func() { does(t, h.wait(within(t), 4+i)) })
		want = append(want, 4+i)
		h.came(t, 5+i)
	}
	for i := range int64(8) {
		does(t, h.Cond.Signal())
		until(t, "one more woke", func() bool { return h.Woken.Load() == i+1 })
	}
	if !slices.Equal(h.Order[:8], want) {
		t.Errorf("woke in the order %v", h.Order[:8])
	}
	here.Wait()
	for _, p := range all {
		succeeds(t, p)
	}
}

// The only number that could wrap tells who has waited longer.
func TestCase137Wrap(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	for _, turn := range []uint64{1<<31 - 2, 1<<32 - 2, 1<<63 - 2, 1<<64 - 2} {
		h.Cond.SetTurn(turn)
		h.Came, h.KillAt = 0, 0
		h.Woken.Store(0)
		a := startGuests(t, s, 1, 0)
		h.came(t, 1)
		b := startGuests(t, s, 1, 1)
		h.came(t, 2)
		done := make(chan error)
		go func() { done <- h.wait(within(t), 2) }()
		h.came(t, 3)
		for i := range int64(3) {
			does(t, h.Cond.Signal())
			until(t, "one more woke", func() bool { return h.Woken.Load() == i+1 })
		}
		if want := []int64{0, 1, 2}; !slices.Equal(h.Order[:3], want) {
			t.Errorf("from turn %#x: woke in the order %v", turn, h.Order[:3])
		}
		does(t, <-done)
		succeeds(t, a)
		succeeds(t, b)
	}
}

// Signals race with waits, and each that is taken has ended one.
func TestCase137ManySignals(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	n := 3000
	if testing.Short() {
		n = 300
	}
	var here sync.WaitGroup
	here.Go(func() {
		for range n {
			if err := h.wait(bg, 0); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for h.Woken.Load() < int64(n) && !t.Failed() {
		does(t, h.Cond.Signal())
		runtime.Gosched()
	}
	here.Wait()
	if waits, sent := h.Cond.Waiters(); waits != 0 || sent != 0 {
		t.Errorf("%d wait, %d signals are left", waits, sent)
	}
}

func TestCase138BroadcastThenUnmap(t *testing.T) {
	for range 5 {
		s, err := shm.New[hall](nil)
		if err != nil {
			t.Fatal(err)
		}
		p := startGuests(t, s, 4, 0)
		s.Ptr().came(t, 4)
		does(t, s.Ptr().Cond.Broadcast())
		does(t, s.Close())
		succeeds(t, p)
	}
}

// Who has waited may close at once, though the broadcaster is still at it.
func TestCase138WokenThenUnmap(t *testing.T) {
	for range 50 {
		s, err := shm.New[hall](nil)
		if err != nil {
			t.Fatal(err)
		}
		h := s.Ptr()
		done := make(chan error)
		go func() { done <- h.wait(within(t), 0) }()
		h.came(t, 1)
		var waker sync.WaitGroup
		waker.Go(func() { does(t, h.Cond.Broadcast()) })
		does(t, <-done)
		for err = s.Close(); errors.Is(err, unix.EBUSY); err = s.Close() {
			time.Sleep(10 * time.Microsecond)
		}
		does(t, err)
		waker.Wait()
	}
}

func TestCase139NewWaitersWakeNobody(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	var all []*proc.Process
	var here sync.WaitGroup
	for i := range int64(3) {
		all = append(all, startGuests(t, s, 2, 10*i))
		here.Go(func() { does(t, h.wait(within(t), 10*i+5)) })
		h.came(t, 3*(i+1))
	}
	time.Sleep(300 * time.Millisecond) // longer than a waiter goes without a look
	if n := h.Woken.Load(); n != 0 {
		t.Errorf("%d woke of no signal", n)
	}
	does(t, h.Cond.Broadcast())
	here.Wait()
	for _, p := range all {
		succeeds(t, p)
	}
}

// A process that maps the Cond twice has two queues and one slot.
func TestCase138MappedTwice(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	f, err := s.PassFiles()
	if err != nil {
		t.Fatal(err)
	}
	again := new(shm.Shared[hall])
	fd, err := unix.FcntlInt(f[0].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.TakeFiles([]*os.File{os.NewFile(uintptr(fd), f[0].Name())}); err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for range 50 {
		h.Came = 0
		h.Woken.Store(0)
		var here sync.WaitGroup
		for i := range int64(6) {
			at := []*hall{h, again.Ptr()}[i%2]
			here.Go(func() { does(t, at.wait(within(t), i)) })
		}
		h.came(t, 6)
		does(t, h.Cond.Signal())
		does(t, again.Ptr().Cond.Notify(3))
		does(t, h.Cond.Broadcast())
		here.Wait()
		if waits, sent := h.Cond.Waiters(); waits != 0 || sent != 0 {
			t.Errorf("%d wait, %d signals are left", waits, sent)
		}
	}
}
