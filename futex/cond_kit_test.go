package futex_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

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
	if ok, err := h.Mu.TryLock(); ok || err != nil {
		err = fmt.Errorf("Wait returned without the lock: TryLock says %t, %v", ok, err)
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
