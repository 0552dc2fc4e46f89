package futex_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// A relock by the holder is one more lock, never a hang; another holder of the
// same process waits as strangers do.
func TestCase066Relock(t *testing.T) {
	m := newShared[futex.RecursiveMutex](t).Ptr()
	a, b := futex.NewOwner(), futex.NewOwner()
	for range 3 {
		if err := m.LockContext(within(t), a); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := m.TryLock(b); ok || err != nil {
		t.Errorf("another owner: %v, %v", ok, err)
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	if err := m.LockContext(ctx, b); err != context.DeadlineExceeded {
		t.Errorf("another owner waits: %v", err)
	}
	if err := m.Unlock(b); !errors.Is(err, os.ErrPermission) {
		t.Errorf("another owner unlocks: %v", err)
	}
	for range 3 {
		if err := m.Unlock(a); err != nil {
			t.Error(err)
		}
	}
}

var tryRecursive = proc.Register("tryRecursive", func(_ context.Context, s *shm.Shared[futex.RecursiveMutex]) error {
	o := futex.NewOwner()
	ok, err := s.Ptr().TryLock(o)
	if ok {
		return errors.Join(err, s.Ptr().Unlock(o))
	}
	if err == nil {
		err = errors.New("it is held")
	}
	return err
})

// Three locks take three unlocks; only then does another process get it.
func TestCase067ThreeLocks(t *testing.T) {
	s := newShared[futex.RecursiveMutex](t)
	m, o := s.Ptr(), futex.NewOwner()
	other := func() error {
		p, err := tryRecursive.Start(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Wait(within(t))
		return err
	}
	for range 3 {
		if err := m.Lock(o); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := other(); err == nil {
			t.Error("another process got it too early")
		}
		if err := m.Unlock(o); err != nil {
			t.Error(err)
		}
	}
	if err := other(); err != nil {
		t.Errorf("after the third unlock: %v", err)
	}
	if err := m.Unlock(o); !errors.Is(err, unix.EPERM) {
		t.Errorf("a fourth unlock: %v", err)
	}
}

var lockTwiceAndDie = proc.Register("lockTwiceAndDie", func(_ context.Context, s *shm.Shared[futex.RecursiveMutex]) error {
	o := futex.NewOwner()
	if err := errors.Join(s.Ptr().Lock(o), s.Ptr().Lock(o)); err != nil {
		return err
	}
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
})

// The holder's death hands the lock on, locked once.
func TestRecursiveMutexHolderDies(t *testing.T) {
	s := newShared[futex.RecursiveMutex](t)
	m, o := s.Ptr(), futex.NewOwner()
	p, err := lockTwiceAndDie.Start(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	p.Wait(bg)
	if err := m.LockContext(within(t), o); err != futex.ErrOwnerDead {
		t.Fatalf("%v", err)
	}
	if err := errors.Join(m.MarkConsistent(o), m.Unlock(o)); err != nil {
		t.Error(err)
	}
	if err := m.Unlock(o); !errors.Is(err, unix.EPERM) {
		t.Errorf("locked more than once: %v", err)
	}
	if ok, err := m.TryLock(o); !ok || err != nil {
		t.Errorf("after the repair: %v, %v", ok, err)
	}
	m.Unlock(o)
}

// A function that locks may call another one that locks too.
func ExampleRecursiveMutex() {
	s, err := shm.New[futex.RecursiveMutex](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	m, me := s.Ptr(), futex.NewOwner()
	fmt.Println(m.Lock(me), m.Lock(me))
	fmt.Println(m.Unlock(me), m.Unlock(me))
	fmt.Println(m.Unlock(me) != nil)
	// Output:
	// <nil> <nil>
	// <nil> <nil>
	// true
}
