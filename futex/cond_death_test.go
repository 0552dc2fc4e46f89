package futex_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

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

// Of two that are woken behind a death, the first gives the lock up: the second
// comes back without it.
func TestCase141LockGivenUp(t *testing.T) {
	s := newShared[hall](t)
	h := s.Ptr()
	done := make(chan error)
	for range 2 {
		go func() {
			does(t, h.enter(within(t)))
			h.Came++
			err := h.Cond.Wait(within(t), &h.Mu)
			if err == futex.ErrOwnerDead {
				does(t, h.Mu.Unlock()) // unmarked
			} else if e := h.Mu.Unlock(); !errors.Is(e, unix.EPERM) {
				t.Errorf("Unlock of a lock that was given up: %v", e)
			}
			done <- err
		}()
	}
	h.came(t, 2)
	d, err := signalAndDie.Start(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	d.Wait(bg)
	if first, second := <-done, <-done; first != futex.ErrOwnerDead && second != futex.ErrOwnerDead ||
		first != futex.ErrNotRecoverable && second != futex.ErrNotRecoverable {
		t.Errorf("%v and %v, want %v and %v", first, second, futex.ErrOwnerDead, futex.ErrNotRecoverable)
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
