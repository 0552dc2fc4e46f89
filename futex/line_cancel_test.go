package futex_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
)

// Of a process's goroutines one sleeps in the kernel, the others stand in line
// for that: their contexts end their waits as well.
func TestCancelledInLine(t *testing.T) {
	brief := func() (context.Context, context.CancelFunc) { return context.WithTimeout(bg, 20*time.Millisecond) }

	rw := newShared[futex.RWMutex](t).Ptr()
	if err := rw.Lock(); err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() { first <- rw.RLockContext(within(t)) }()
	until(t, "the first reader asleep", func() bool { return inside("futex.(*RWMutex).waitGate") == 1 })
	ctx, cancel := brief()
	defer cancel()
	if err := rw.RLockContext(ctx); err != context.DeadlineExceeded {
		t.Errorf("the second reader: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := errors.Join(rw.Unlock(), <-first, rw.RUnlock()); err != nil {
		t.Error(err)
	}

	b := &newShared[arena](t).Ptr().Bar[0]
	if err := b.Init(3); err != nil {
		t.Fatal(err)
	}
	go func() { _, err := b.Wait(within(t)); first <- err }()
	until(t, "the first party asleep", func() bool { return b.Waiting() == 1 })
	ctx, cancel = brief()
	defer cancel()
	if _, err := b.Wait(ctx); err != context.DeadlineExceeded {
		t.Errorf("the second party: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := <-first; !errors.Is(err, futex.ErrBroken) {
		t.Errorf("the first party: %v, want %v", err, futex.ErrBroken)
	}
}
