package futex_test

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

type recursive struct {
	Mu       futex.RecursiveMutex
	A, B     int64
	In       atomic.Int32 // children that are about to lock
	Unlocked atomic.Int32
}

// Who locks again what it holds is let in and not left hanging; another Owner
// waits, even within the same process.
func TestCase066Relock(t *testing.T) {
	m := &newShared[recursive](t).Ptr().Mu
	me, other := futex.NewOwner(), futex.NewOwner()
	for range 3 {
		if err := m.LockContext(within(t), me); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := m.TryLock(me); !ok || err != nil {
		t.Errorf("trying to relock: %v, %v", ok, err)
	}
	if ok, err := m.TryLock(other); ok || err != nil {
		t.Errorf("another Owner, trying: %v, %v", ok, err)
	}
	const wait = 20 * time.Millisecond
	start := time.Now()
	ctx, cancel := context.WithTimeout(bg, wait)
	defer cancel()
	if err := m.LockContext(ctx, other); err != context.DeadlineExceeded || time.Since(start) < wait {
		t.Errorf("another Owner: %v after %v", err, time.Since(start))
	}
	for _, call := range []func(*futex.Owner) error{m.Unlock, m.MarkConsistent} {
		if err := call(other); !errors.Is(err, os.ErrPermission) {
			t.Errorf("another Owner's call: %v", err)
		}
	}
	m.SetDepth(math.MaxUint32)
	if err := m.Lock(me); !errors.Is(err, unix.EAGAIN) || !strings.Contains(err.Error(), "4294967295") {
		t.Errorf("too deep: %v", err)
	}
	if ok, err := m.TryLock(me); ok || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("too deep: %v, %v", ok, err)
	}
	m.SetDepth(1)
	if err := m.Unlock(me); err != nil {
		t.Error(err)
	}
	if ok, err := m.TryLock(other); !ok || err != nil {
		t.Errorf("free: %v, %v", ok, err)
	}
	if err := m.Unlock(other); err != nil {
		t.Error(err)
	}
}

var recursiveRival = proc.Register("recursiveRival", func(ctx context.Context, s *shm.Shared[recursive]) error {
	g, me := s.Ptr(), futex.NewOwner()
	g.In.Add(1)
	if err := g.Mu.LockContext(ctx, me); err != nil {
		return err
	}
	if n := g.Unlocked.Load(); n != 3 {
		return errors.New("got the lock before the third unlock")
	}
	return g.Mu.Unlock(me)
})

func TestCase067ThreeLocks(t *testing.T) {
	s := newShared[recursive](t)
	g, me := s.Ptr(), futex.NewOwner()
	for range 2 {
		if err := g.Mu.Lock(me); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := g.Mu.TryLock(me); !ok || err != nil { // counts as they do
		t.Fatal(ok, err)
	}
	p, err := recursiveRival.Start(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the rival is there", func() bool { return g.In.Load() == 1 })
	for range 3 {
		time.Sleep(20 * time.Millisecond)
		if !p.Alive() {
			t.Error("the rival is done")
		}
		g.Unlocked.Add(1)
		if err := g.Mu.Unlock(me); err != nil {
			t.Error(err)
		}
	}
	if err := g.Mu.Unlock(me); !errors.Is(err, unix.EPERM) {
		t.Errorf("the fourth unlock: %v", err)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Error(err)
	}
}

var recursiveDie = proc.Register("recursiveDie", func(ctx context.Context, s *shm.Shared[recursive]) error {
	me := futex.NewOwner()
	for range 3 {
		if err := s.Ptr().Mu.LockContext(ctx, me); err != nil {
			return err
		}
	}
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
})

func TestRecursiveMutexDeadHolder(t *testing.T) {
	s := newShared[recursive](t)
	m, me := &s.Ptr().Mu, futex.NewOwner()
	for round := range 3 {
		p, err := recursiveDie.Start(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		if st, _ := p.Wait(bg); st.Signal() != unix.SIGKILL {
			t.Fatal(st)
		}
		if err := m.LockContext(within(t), me); err != futex.ErrOwnerDead {
			t.Fatalf("after the holder's death: %v", err)
		}
		if err := m.Lock(me); err != nil {
			t.Errorf("deeper: %v", err)
		}
		if err := m.Unlock(me); err != nil {
			t.Error(err)
		}
		if round < 2 {
			if err := m.MarkConsistent(me); err != nil {
				t.Error(err)
			}
		}
		if err := m.Unlock(me); err != nil { // locked once, whatever the dead had
			t.Error(err)
		}
		if err := m.Unlock(me); !errors.Is(err, unix.EPERM) {
			t.Errorf("unlocked too often: %v", err)
		}
	}
	if err := m.Lock(me); err != futex.ErrNotRecoverable {
		t.Errorf("given up: %v", err)
	}
	if err := m.Unlock(me); !errors.Is(err, unix.EPERM) {
		t.Errorf("given up: %v", err)
	}
}

func TestRecursiveMutexExcludes(t *testing.T) {
	g := newShared[recursive](t).Ptr()
	count := 0 // -race vouches for the edges
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			me := futex.NewOwner()
			for range 2000 {
				err := errors.Join(g.Mu.Lock(me), g.Mu.Lock(me))
				count++
				if err := errors.Join(err, g.Mu.Unlock(me), g.Mu.Unlock(me)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if count != 8000 {
		t.Errorf("%d sections, want 8000", count)
	}
}

func TestRecursiveMutexOwnerIsSomebody(t *testing.T) {
	m := &newShared[recursive](t).Ptr().Mu
	for name, call := range map[string]func(){
		"Lock, nil":    func() { m.Lock(nil) },
		"Lock, zero":   func() { m.Lock(new(futex.Owner)) },
		"TryLock":      func() { m.TryLock(new(futex.Owner)) },
		"Unlock":       func() { m.Unlock(new(futex.Owner)) },
		"Unlock, nil":  func() { m.Unlock(nil) },
		"MarkConsist.": func() { m.MarkConsistent(new(futex.Owner)) },
	} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.HasPrefix(s, "futex: ") {
					t.Errorf("%s: panic %q", name, s)
				}
			}()
			call()
		}()
	}
	var lost futex.RecursiveMutex
	if err := lost.Lock(futex.NewOwner()); err != futex.ErrNotAttached {
		t.Errorf("not attached: %v", err)
	}
}
