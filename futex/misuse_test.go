package futex_test

import (
	"context"
	"errors"
	"math/bits"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"

	"golang.org/x/sys/unix"
)

// A lock that must know who is alive works in attached memory only; elsewhere
// each of its calls says so, and does nothing.
func TestNotAttached(t *testing.T) {
	var l struct {
		Robust    futex.RobustMutex
		RW        futex.RWMutex
		Recursive futex.RecursiveMutex
		Semaphore futex.Semaphore
		Liveness  futex.Liveness
	}
	if err := l.Semaphore.Init(1, 1); err != nil {
		t.Fatal(err)
	}
	o := futex.NewOwner()
	for what, call := range map[string]func() error{
		"RobustMutex.Lock":           l.Robust.Lock,
		"RobustMutex.LockContext":    func() error { return l.Robust.LockContext(t.Context()) },
		"RobustMutex.TryLock":        func() error { _, err := l.Robust.TryLock(); return err },
		"RobustMutex.Unlock":         l.Robust.Unlock,
		"RobustMutex.MarkConsistent": l.Robust.MarkConsistent,
		"RWMutex.Lock":               l.RW.Lock,
		"RWMutex.LockContext":        func() error { return l.RW.LockContext(t.Context()) },
		"RWMutex.TryLock":            func() error { _, err := l.RW.TryLock(); return err },
		"RWMutex.Unlock":             l.RW.Unlock,
		"RWMutex.RLock":              l.RW.RLock,
		"RWMutex.RLockContext":       func() error { return l.RW.RLockContext(t.Context()) },
		"RWMutex.TryRLock":           func() error { _, err := l.RW.TryRLock(); return err },
		"RWMutex.MarkConsistent":     l.RW.MarkConsistent,
		"RecursiveMutex.Lock":        func() error { return l.Recursive.Lock(o) },
		"RecursiveMutex.TryLock":     func() error { _, err := l.Recursive.TryLock(o); return err },
		"Semaphore.AcquireOwned":     func() error { return l.Semaphore.AcquireOwned(t.Context()) },
		"Semaphore.ReleaseOwned":     l.Semaphore.ReleaseOwned,
		"Liveness.Publish":           l.Liveness.Publish,
		"Liveness.Claim":             func() error { _, err := l.Liveness.Claim(); return err },
		"Liveness.Withdraw":          l.Liveness.Withdraw,
	} {
		if err := call(); err != futex.ErrNotAttached {
			t.Errorf("%s: %v, want %v", what, err, futex.ErrNotAttached)
		}
	}
	if l.Semaphore.Value() != 1 {
		t.Error("a token is gone")
	}
}

// What is free, or held by others, can't be unlocked.
func TestNotHeld(t *testing.T) {
	s := newShared[struct {
		Robust    futex.RobustMutex
		Recursive futex.RecursiveMutex
		RW        futex.RWMutex
		Liveness  futex.Liveness
		Semaphore futex.Semaphore
	}](t)
	l := s.Ptr()
	if err := l.Semaphore.Init(1, 1); err != nil {
		t.Fatal(err)
	}
	if err := l.RW.RLock(); err != nil { // from now on this process has a slot
		t.Fatal(err)
	}
	if err := l.RW.RUnlock(); err != nil {
		t.Fatal(err)
	}
	o := futex.NewOwner()
	for what, call := range map[string]func() error{
		"RWMutex.RUnlock of a lock that this process does not hold":            l.RW.RUnlock,
		"RWMutex.Unlock of a lock that this process does not hold":             l.RW.Unlock,
		"RWMutex.MarkConsistent of a lock that this process does not hold":     l.RW.MarkConsistent,
		"RobustMutex.Unlock of a lock that this process does not hold":         l.Robust.Unlock,
		"RobustMutex.MarkConsistent of a lock that this process does not hold": l.Robust.MarkConsistent,
		"RecursiveMutex.Unlock by an Owner that does not hold it":              func() error { return l.Recursive.Unlock(o) },
		"RecursiveMutex.MarkConsistent by an Owner that does not hold it":      func() error { return l.Recursive.MarkConsistent(o) },
		"Withdraw of a Liveness that this process has not published":           l.Liveness.Withdraw,
		"ReleaseOwned by a process that owns no token":                         l.Semaphore.ReleaseOwned,
	} {
		if err := call(); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want EPERM and %q in it", err, what)
		}
	}
	if ok, err := l.RW.TryLock(); !ok || err != nil {
		t.Errorf("afterwards: %v, %v", ok, err)
	}
	// A Release of somebody who had no token leaves no room for the owner's.
	if err := l.Semaphore.AcquireOwned(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Semaphore.Release(); err != nil {
		t.Fatal(err)
	}
	if err := l.Semaphore.ReleaseOwned(); !errors.Is(err, unix.EOVERFLOW) {
		t.Errorf("ReleaseOwned above the limit: %v, want EOVERFLOW", err)
	}
}

func TestAttachMisused(t *testing.T) {
	if bits.UintSize != 64 {
		t.Skip("Attach needs 64 bits")
	}
	if _, err := futex.Attach(nil, nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no memory: %v, want EINVAL", err)
	}
	f, mem := mapFile(t, 4096, 4096)
	r, err := futex.Attach(mem, f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := futex.Attach(mem[64:128], f); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a part again: %v, want EEXIST", err)
	}
	if err := r.Detach(); err != nil {
		t.Error(err)
	}
	if err := r.Detach(); err != os.ErrClosed {
		t.Errorf("Detach twice: %v, want os.ErrClosed", err)
	}
	closed, _ := os.Open(os.DevNull)
	closed.Close()
	if _, err := futex.Attach(mem, closed); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file: %v, want os.ErrClosed", err)
	}
	if r, err = futex.Attach(mem, f); err != nil { // nothing of that is kept
		t.Fatal(err)
	}
	if err := r.Detach(); err != nil {
		t.Error(err)
	}
}

func TestWaitsMisused(t *testing.T) {
	var w atomic.Uint32
	if err := futex.WaitUntil(&w, 1, time.Time{}); err != nil {
		t.Errorf("another value, for ever: %v", err)
	}
	_, mem := mapFile(t, 4096, 4096)
	word, err := futex.WordAt(mem, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mprotect(mem, unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	defer unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for what, call := range map[string]func() error{
		"Wait":        func() error { return futex.Wait(word, 0) },
		"WaitContext": func() error { return futex.WaitContext(ctx, word, 0) },
		"WaitAny":     func() error { _, err := futex.WaitAny(ctx, futex.Word{Addr: word}, futex.Word{Addr: &w}); return err },
		"WakeOp":      func() error { _, err := futex.WakeOp(&w, 1, word, 1, futex.Op{}); return err },
	} {
		if what == "WaitAny" && fuzz.Without("futex_waitv") {
			continue // it then looks at the words itself
		}
		if err := call(); !errors.Is(err, unix.EFAULT) {
			t.Errorf("%s in memory that can't be read: %v, want EFAULT", what, err)
		}
	}
}
