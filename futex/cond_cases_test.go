package futex_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// hall is where processes wait for each other.
type hall struct {
	Mu     futex.RobustMutex
	Cond   futex.Cond
	Came   int64        // guarded by Mu: calls of Wait that have begun
	Woken  atomic.Int64 // returns of Wait
	Deaths atomic.Int64 // times that ErrOwnerDead was returned
	Order  [64]int64    // guarded by Mu: who returned, in turn
	KillAt int64        // who returns so many-th is killed, with the lock held
	Other  futex.RobustMutex
	Plain  futex.Mutex
}

// enter locks; a dead holder leaves the hall in order.
func (h *hall) enter(ctx context.Context) error { return h.entered(h.Mu.LockContext(ctx)) }

func (h *hall) entered(err error) error {
	if errors.Is(err, futex.ErrOwnerDead) {
		h.Deaths.Add(1)
		return h.Mu.MarkConsistent()
	}
	return err
}

// wait waits once, as number me.
func (h *hall) wait(ctx context.Context, me int64) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	h.Came++
	if err := h.entered(h.Cond.Wait(ctx, &h.Mu)); err != nil {
		return errors.Join(err, h.Mu.Unlock())
	}
	n := h.Woken.Add(1)
	if n <= int64(len(h.Order)) {
		h.Order[n-1] = me
	}
	if n == h.KillAt {
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
	return h.Mu.Unlock()
}

// came waits until n calls of Wait have begun, and none of them can miss a signal.
func (h *hall) came(t testing.TB, n int64) {
	t.Helper()
	until(t, fmt.Sprintf("%d wait", n), func() bool {
		if err := h.enter(within(t)); err != nil {
			t.Fatal(err)
		}
		defer h.Mu.Unlock()
		return h.Came >= n
	})
}

type guests struct {
	Hall *shm.Shared[hall]
	N    int   // goroutines that wait
	Name int64 // of the first one
}

// wait in another process.
var condWait = proc.Register("condWait", func(ctx context.Context, g guests) error {
	errs := make(chan error, g.N)
	for i := range g.N {
		go func() { errs <- g.Hall.Ptr().wait(ctx, g.Name+int64(i)) }()
	}
	var all []error
	for range g.N {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
})

// startGuests starts a process in which n goroutines wait.
func startGuests(t testing.TB, s *shm.Shared[hall], n int, name int64) *proc.Process {
	t.Helper()
	p, err := condWait.Start(within(t), guests{s, n, name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill(); p.Wait(bg) })
	return p
}

func succeeds(t testing.TB, p *proc.Process) {
	t.Helper()
	if state, err := p.Wait(within(t)); err != nil || !state.Success() {
		t.Errorf("a child: %v, %v", state, err)
	}
}

func killed(t testing.TB, p *proc.Process) {
	t.Helper()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait(bg)
}

// stopped stops a process, and waits until it stands: its threads stop one by
// one.
func stopped(t testing.TB, p *proc.Process) {
	t.Helper()
	does(t, p.Signal(unix.SIGSTOP))
	until(t, "stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		return stat[bytes.LastIndexByte(stat, ')')+2] == 'T'
	})
}

// does reports an error of what is called for its effect.
func does(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// either runs a test under both kinds of locks.
func either(t *testing.T, test func(t *testing.T, c *futex.Cond, m lockable)) {
	t.Run("lock=Mutex", func(t *testing.T) {
		s := newShared[struct {
			Mu   futex.Mutex
			Cond futex.Cond
		}](t)
		test(t, &s.Ptr().Cond, plainLock{&s.Ptr().Mu})
	})
	t.Run("lock=RobustMutex", func(t *testing.T) {
		s := newShared[hall](t)
		test(t, &s.Ptr().Cond, robustLock{&s.Ptr().Mu})
	})
}

type lockable interface {
	lock()
	unlock()
	try() bool
	cond() futex.CondLocker
}

type plainLock struct{ m *futex.Mutex }

func (l plainLock) lock()                  { l.m.Lock() }
func (l plainLock) unlock()                { l.m.Unlock() }
func (l plainLock) try() bool              { return l.m.TryLock() }
func (l plainLock) cond() futex.CondLocker { return l.m }

type robustLock struct{ m *futex.RobustMutex }

func (l robustLock) lock()                  { l.m.Lock() }
func (l robustLock) unlock()                { l.m.Unlock() }
func (l robustLock) try() bool              { ok, _ := l.m.TryLock(); return ok }
func (l robustLock) cond() futex.CondLocker { return l.m }

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
		sig := unix.SIGURG
		if i%50 == 49 {
			does(t, p.Signal(unix.SIGSTOP))
			sig = unix.SIGCONT
		}
		does(t, p.Signal(sig))
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
	ctx, cancel := context.WithTimeout(bg, 400*time.Millisecond)
	defer cancel()
	for i := range 2 {
		go func() { errs <- h.wait(ctx, 20+int64(i)) }()
	}
	h.came(t, 5)
	for range 2 {
		if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
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

func TestCase140OwnerKilledInTheChain(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	const children, each = 10, 10
	h.KillAt = 30
	var all []*proc.Process
	for i := range children {
		all = append(all, startGuests(t, s, each, int64(i)))
	}
	h.came(t, children*each)
	does(t, h.Cond.Broadcast())
	dead := 0
	for _, p := range all {
		switch state, err := p.Wait(within(t)); {
		case state.Signal() == unix.SIGKILL:
			dead++
		case err != nil || !state.Success():
			t.Errorf("a child: %v, %v", state, err)
		}
	}
	if n := h.Deaths.Load(); dead != 1 || n != 1 {
		t.Errorf("%d children were killed, %d saw it; want 1, 1", dead, n)
	}
	if n := h.Woken.Load(); n < (children-1)*each || n > children*each {
		t.Errorf("%d woke", n)
	}
}

// signalAndDie signals all, and dies with the lock held.
var signalAndDie = proc.Register("signalAndDie", func(ctx context.Context, s *shm.Shared[hall]) error {
	if err := s.Ptr().enter(ctx); err != nil {
		return err
	}
	if err := s.Ptr().Cond.Broadcast(); err != nil {
		return err
	}
	time.Sleep(10 * time.Millisecond) // they are awake, and want the lock
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
})

func TestCase141OwnerDies(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	p := startGuests(t, s, 1, 0)
	done := make(chan error)
	go func() {
		does(t, h.enter(within(t)))
		h.Came++
		err := h.Cond.Wait(within(t), &h.Mu)
		if err == nil || errors.Is(err, futex.ErrOwnerDead) {
			h.entered(err)
			err = h.Mu.Unlock() // it was held
		}
		done <- err
	}()
	h.came(t, 2)
	d, err := signalAndDie.Start(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	d.Wait(bg)
	does(t, <-done)
	succeeds(t, p)
	if n := h.Deaths.Load(); n != 1 {
		t.Errorf("%d saw the death, want 1", n)
	}
}

// A waiter is killed at each stage, and what was owed to it goes to another.
func TestCase142KilledWaiter(t *testing.T) {
	for _, row := range []struct {
		name string
		kill func(t *testing.T, h *hall, p *proc.Process)
	}{
		{"asleep, then a signal", func(t *testing.T, h *hall, p *proc.Process) {
			killed(t, p)
			does(t, h.Cond.Signal())
		}},
		{"just after the signal", func(t *testing.T, h *hall, p *proc.Process) {
			stopped(t, p)
			does(t, h.Cond.Signal())
			killed(t, p)
		}},
		{"while it wants the lock", func(t *testing.T, h *hall, p *proc.Process) {
			does(t, h.enter(within(t)))
			does(t, h.Cond.Signal())
			until(t, "the signal is taken", func() bool { _, sent := h.Cond.Waiters(); return sent == 0 })
			time.Sleep(10 * time.Millisecond)
			killed(t, p)
			does(t, h.Mu.Unlock())
		}},
		{"with the lock again", func(t *testing.T, h *hall, p *proc.Process) {
			h.KillAt = 1
			does(t, h.Cond.Signal())
			p.Wait(bg)
			h.KillAt = 0
			does(t, h.Cond.Signal())
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newShared[hall](t)
			h := s.Ptr()
			p := startGuests(t, s, 1, 0)
			h.came(t, 1)
			live := startGuests(t, s, 1, 1)
			h.came(t, 2)
			row.kill(t, h, p)
			succeeds(t, live)
			if waits, sent := h.Cond.Waiters(); waits != 0 || sent != 0 {
				t.Errorf("%d wait, %d signals are left", waits, sent)
			}
		})
	}
}

// Some wait who are taken for dying, and are not.
func TestCase142FalseMark(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	for _, notify := range []func() error{h.Cond.Signal, h.Cond.Broadcast} {
		h.Came = 0
		p := startGuests(t, s, 1, 0)
		h.came(t, 1)
		h.Cond.MarkDying()
		does(t, notify())
		succeeds(t, p)
		done := make(chan error)
		h.Came = 0
		go func() { done <- h.wait(within(t), 1) }()
		h.came(t, 1)
		q := startGuests(t, s, 1, 0)
		h.came(t, 2)
		h.Cond.MarkDying()
		does(t, h.Cond.Notify(2))
		does(t, <-done)
		succeeds(t, q)
	}
}

func TestCase143NotTheLock(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	for _, m := range []futex.CondLocker{&h.Mu, &h.Plain} {
		if err := h.Cond.Wait(bg, m); !errors.Is(err, os.ErrPermission) {
			t.Errorf("Wait without %T: %v", m, err)
		}
	}
	done := make(chan error)
	go func() { done <- h.wait(within(t), 0) }()
	h.came(t, 1)
	does(t, h.Other.Lock())
	if err := h.Cond.Wait(bg, &h.Other); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Wait with a second lock: %v", err)
	}
	does(t, h.Cond.Signal())
	does(t, <-done)
	// Nobody waits: another lock may be used.
	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	if err := h.Cond.Wait(ctx, &h.Other); err != context.DeadlineExceeded {
		t.Errorf("Wait with another lock, alone: %v", err)
	}
	does(t, h.Other.Unlock())

	var local struct {
		c futex.Cond
		m futex.Mutex
	}
	local.m.Lock()
	if err := local.c.Wait(bg, &local.m); err != futex.ErrNotAttached {
		t.Errorf("Wait in private memory: %v", err)
	}
	local.m.Unlock()
}

// The dead don't insist on their lock.
func TestCase143DeadMansLock(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	p := startGuests(t, s, 1, 0)
	h.came(t, 1)
	killed(t, p)
	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	does(t, h.Other.Lock())
	if err := h.Cond.Wait(ctx, &h.Other); err != context.DeadlineExceeded {
		t.Errorf("Wait with another lock than the dead: %v", err)
	}
	does(t, h.Other.Unlock())
}

// Who does not wait now makes room for who wants to.
func TestCase143Room(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	for _, row := range []struct {
		waiting uint64
		want    error
	}{{0, context.DeadlineExceeded}, {1, unix.EAGAIN}} {
		undo := h.Cond.Occupy(row.waiting)
		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		does(t, h.enter(bg))
		if err := h.Cond.Wait(ctx, &h.Mu); !errors.Is(err, row.want) {
			t.Errorf("Wait beside %d processes with %d waiters each: %v, want %v", futex.MaxWaiters, row.waiting, err, row.want)
		}
		does(t, h.Mu.Unlock())
		cancel()
		undo()
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
