package shm_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// busyLocks has one of each that can be waited for.
type busyLocks struct {
	Mutex     futex.Mutex
	Robust    futex.RobustMutex
	RW        futex.RWMutex
	Semaphore futex.Semaphore
	Event     futex.Event
	Cond      futex.Cond
	Barrier   futex.Barrier
}

// As C's destroy functions say EBUSY, so does Close while a goroutine of this
// process waits, and the memory stays.
func TestCloseBesideWaiters(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(l *busyLocks) error
		wait    func(ctx context.Context, l *busyLocks) error
	}{
		{"Mutex", func(l *busyLocks) error { l.Mutex.Lock(); return nil },
			func(ctx context.Context, l *busyLocks) error { return l.Mutex.LockContext(ctx) }},
		{"RobustMutex", func(l *busyLocks) error { return l.Robust.Lock() },
			func(ctx context.Context, l *busyLocks) error { return l.Robust.LockContext(ctx) }},
		{"RWMutex, reading", func(l *busyLocks) error { return l.RW.Lock() },
			func(ctx context.Context, l *busyLocks) error { return l.RW.RLockContext(ctx) }},
		{"RWMutex, writing", func(l *busyLocks) error { return l.RW.RLock() },
			func(ctx context.Context, l *busyLocks) error { return l.RW.LockContext(ctx) }},
		{"Semaphore", func(l *busyLocks) error { return l.Semaphore.Init(0, 1) },
			func(ctx context.Context, l *busyLocks) error { return l.Semaphore.Acquire(ctx) }},
		{"Event", func(*busyLocks) error { return nil },
			func(ctx context.Context, l *busyLocks) error { return l.Event.Wait(ctx) }},
		{"Cond", func(l *busyLocks) error { return l.Robust.Lock() },
			func(ctx context.Context, l *busyLocks) error { return l.Cond.Wait(ctx, &l.Robust) }},
		{"Barrier", func(l *busyLocks) error { return l.Barrier.Init(2) },
			func(ctx context.Context, l *busyLocks) error { _, err := l.Barrier.Wait(ctx); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := shm.New[busyLocks](nil)
			if err != nil {
				t.Fatal(err)
			}
			l := s.Ptr()
			if err := c.prepare(l); err != nil {
				t.Fatal(err)
			}
			// Who waits says so in the lock: before that it may not have come.
			mem := unsafe.Slice((*byte)(unsafe.Pointer(l)), unsafe.Sizeof(*l))
			before := bytes.Clone(mem)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := make(chan error)
			go func() { done <- c.wait(ctx, l) }()
			for hang := time.Now().Add(20 * time.Second); bytes.Equal(mem, before); time.Sleep(time.Millisecond) {
				if time.Now().After(hang) {
					t.Fatal("nobody waits")
				}
			}
			if err := s.Close(); !errors.Is(err, unix.EBUSY) {
				t.Fatalf("Close: %v, want EBUSY", err)
			}
			if s.Ptr() != l {
				t.Error("the memory is gone")
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("the wait: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := s.Close(); err != os.ErrClosed {
				t.Errorf("a second Close: %v", err)
			}
		})
	}
}
