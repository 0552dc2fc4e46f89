package futex_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// everyLock has one of each, for [TestErrnos] and [TestNilContext].
type everyLock struct {
	Word      atomic.Uint32
	Mutex     futex.Mutex
	Robust    futex.RobustMutex
	RW        futex.RWMutex
	Recursive futex.RecursiveMutex
	Sem       futex.Semaphore
	Event     futex.Event
	Cond      futex.Cond
	Barrier   futex.Barrier
	Once      futex.Once
}

func newEveryLock() (*shm.Shared[everyLock], error) {
	s, err := shm.New[everyLock](nil)
	if err != nil {
		return nil, err
	}
	return s, errors.Join(s.Ptr().Sem.Init(0, 2), s.Ptr().Barrier.Init(2))
}

// region is memory that is attached.
type region struct {
	*futex.Region
	mem []byte
}

func (r region) Close() error { return errors.Join(r.Detach(), unix.Munmap(r.mem)) }

// A wait is an operation that blocks from hold on until free; undo takes it back.
type wait struct {
	name       string
	hold       func(l *everyLock) error
	op         func(ctx context.Context, l *everyLock) error
	free, undo func(l *everyLock) error
}

func (w wait) round(ctx context.Context) fuzz.Round {
	of := func(f func(l *everyLock) error) func(*shm.Shared[everyLock]) error {
		return func(s *shm.Shared[everyLock]) error {
			if f == nil {
				return nil
			}
			return f(s.Ptr())
		}
	}
	held := func() (*shm.Shared[everyLock], error) {
		s, err := newEveryLock()
		if err == nil {
			err = of(w.hold)(s)
		}
		return s, err
	}
	return fuzz.Blocking(held, of(func(l *everyLock) error { return w.op(ctx, l) }), of(w.free), of(w.undo))
}

// breaks is the round of a barrier, which is broken for all if one can't wait, and
// serves again after Reset.
func breaks(fail func(func() error) error) error {
	s, err := newEveryLock()
	if err != nil {
		return err
	}
	defer s.Close()
	b := &s.Ptr().Barrier
	two := func(first func(func() error) error) (error, error) {
		second := make(chan error)
		go func() {
			time.Sleep(2 * time.Millisecond)
			_, err := b.Wait(bg)
			second <- err
		}()
		err := first(func() error { _, err := b.Wait(bg); return err })
		return err, <-second
	}
	if err1, err2 := two(fail); err1 == nil && err2 != nil || err1 != nil && err2 != futex.ErrBroken {
		return fmt.Errorf("the second got %v", err2)
	}
	b.Reset()
	return errors.Join(two(func(op func() error) error { return op() }))
}

// ofTheDead is the round of a lock whose owner was killed.
func ofTheDead(fail func(func() error) error) error {
	s, err := shm.New[guarded](nil)
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := lockAndDie.Start(bg, s)
	if err != nil {
		return err
	}
	if _, err := p.Wait(bg); !errors.As(err, new(*proc.ExitError)) {
		return fmt.Errorf("the owner's end: %w", err)
	}
	m := &s.Ptr().Mu
	op := func() error {
		if err := m.Lock(); err != futex.ErrOwnerDead {
			return fmt.Errorf("Lock: %w", err)
		}
		return m.MarkConsistent()
	}
	if fail(op) != nil {
		if err := op(); err != nil {
			return fmt.Errorf("the second try: %w", err)
		}
	}
	return errors.Join(m.Unlock(), taken(m.TryLock()))
}

// Every system call of every operation fails: the error says which and why,
// nothing is left behind, and the lock is as if it had not been tried. But for
// the clock, without which there is no futex, nor Go.
func TestErrnos(t *testing.T) {
	errnos := []syscall.Errno{unix.EINTR, unix.EXFULL, unix.ENOMEM, unix.EMFILE, unix.EPERM, unix.ENOLCK}
	if testing.Short() {
		errnos = errnos[:2]
	}
	type row struct {
		name string
		fuzz.Round
		fuzz.Faults
	}
	f, err := os.CreateTemp(t.TempDir(), "region")
	if err == nil {
		err = f.Truncate(8192)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	attach := func(f *os.File) func() (region, error) {
		return func() (r region, err error) {
			fd, flags := -1, unix.MAP_SHARED|unix.MAP_ANONYMOUS
			if f != nil {
				fd, flags = int(f.Fd()), unix.MAP_SHARED
			}
			if r.mem, err = unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, flags); err != nil {
				return r, os.NewSyscallError("mmap", err)
			}
			if r.Region, err = futex.Attach(r.mem, f); err != nil {
				unix.Munmap(r.mem)
			}
			return r, err
		}
	}
	lock := func(r region) error {
		m, err := futex.At[futex.RobustMutex](r.mem, 64)
		if err == nil {
			err = m.Lock()
		}
		if err == nil {
			err = m.Unlock()
		}
		return err
	}
	still := fuzz.Faults{Spare: []string{"futex_wake"}} // or who holds the lock sleeps on
	rows := []row{
		{"Attach", fuzz.Making(attach(f), lock), fuzz.Faults{}},
		{"Attach without a file", fuzz.Making(attach(nil), lock), fuzz.Faults{}},
		{"the first Lock of all", fuzz.Using(func() (region, error) {
			futex.WithoutGuardians()
			return attach(f)()
		}, lock, lock), fuzz.Faults{}},
		{"Wake", fuzz.Using(newEveryLock, func(s *shm.Shared[everyLock]) error {
			_, err := futex.Wake(&s.Ptr().Word, 1)
			return err
		}, nil), fuzz.Faults{}},
		{"WakeBitset", fuzz.Using(newEveryLock, func(s *shm.Shared[everyLock]) error {
			_, err := futex.WakeBitset(&s.Ptr().Word, 1, 2)
			return err
		}, nil), fuzz.Faults{}},
		{"Barrier.Wait", breaks, still},
		{"RobustMutex.Lock of the dead", ofTheDead, fuzz.Faults{}},
	}
	me, other := futex.NewOwner(), futex.NewOwner()
	wake := func(l *everyLock) error { l.Word.Store(1); _, err := futex.Wake(&l.Word, 1); return err }
	waits := []wait{
		{"Mutex.Lock", func(l *everyLock) error { l.Mutex.Lock(); return nil },
			func(ctx context.Context, l *everyLock) error { return l.Mutex.LockContext(ctx) },
			func(l *everyLock) error { l.Mutex.Unlock(); return nil },
			func(l *everyLock) error { l.Mutex.Unlock(); return really(l.Mutex.TryLock(), "free") }},
		{"RobustMutex.Lock", func(l *everyLock) error { return l.Robust.Lock() },
			func(ctx context.Context, l *everyLock) error { return l.Robust.LockContext(ctx) },
			func(l *everyLock) error { return l.Robust.Unlock() },
			func(l *everyLock) error { return errors.Join(l.Robust.Unlock(), taken(l.Robust.TryLock())) }},
		{"RWMutex.Lock", func(l *everyLock) error { return l.RW.RLock() },
			func(ctx context.Context, l *everyLock) error { return l.RW.LockContext(ctx) },
			func(l *everyLock) error { return l.RW.RUnlock() },
			func(l *everyLock) error { return errors.Join(l.RW.Unlock(), taken(l.RW.TryLock())) }},
		{"RWMutex.RLock", func(l *everyLock) error { return l.RW.Lock() },
			func(ctx context.Context, l *everyLock) error { return l.RW.RLockContext(ctx) },
			func(l *everyLock) error { return l.RW.Unlock() },
			func(l *everyLock) error { return errors.Join(l.RW.RUnlock(), taken(l.RW.TryLock())) }},
		{"RecursiveMutex.Lock", func(l *everyLock) error { return l.Recursive.Lock(other) },
			func(ctx context.Context, l *everyLock) error { return l.Recursive.LockContext(ctx, me) },
			func(l *everyLock) error { return l.Recursive.Unlock(other) },
			func(l *everyLock) error {
				return errors.Join(l.Recursive.Unlock(me), taken(l.Recursive.TryLock(other)))
			}},
		{"Mutex.Lock, the thread's first", func(l *everyLock) error { l.Mutex.Lock(); return nil },
			func(ctx context.Context, l *everyLock) error { futex.WithoutHeads(); return l.Mutex.LockContext(ctx) },
			func(l *everyLock) error { l.Mutex.Unlock(); return nil },
			func(l *everyLock) error { l.Mutex.Unlock(); return really(l.Mutex.TryLock(), "free") }},
		{"Semaphore.Acquire", nil,
			func(ctx context.Context, l *everyLock) error { return l.Sem.Acquire(ctx) },
			func(l *everyLock) error { return l.Sem.Release() },
			func(l *everyLock) error { return really(l.Sem.Value() == 0, "without tokens") }},
		{"Semaphore.AcquireOwned", nil,
			func(ctx context.Context, l *everyLock) error { return l.Sem.AcquireOwned(ctx) },
			func(l *everyLock) error { return l.Sem.Release() },
			func(l *everyLock) error {
				return errors.Join(really(l.Sem.Value() == 0, "without tokens"), l.Sem.ReleaseOwned())
			}},
		{"Event.Wait", nil,
			func(ctx context.Context, l *everyLock) error { return l.Event.Wait(ctx) },
			func(l *everyLock) error { l.Event.Set(); return nil }, nil},
		{"Cond.WaitFor", func(l *everyLock) error { return l.Robust.Lock() },
			func(ctx context.Context, l *everyLock) error {
				return l.Cond.WaitFor(ctx, &l.Robust, func() bool { return l.Word.Load() != 0 })
			},
			func(l *everyLock) error {
				if err := l.Robust.Lock(); err != nil {
					return err
				}
				l.Word.Store(1)
				err := l.Cond.Broadcast()
				time.Sleep(3 * time.Millisecond) // the woken one has to wait for the lock, too
				return errors.Join(err, l.Robust.Unlock())
			},
			func(l *everyLock) error { return errors.Join(l.Robust.Unlock(), taken(l.Robust.TryLock())) }},
		{"WaitContext", nil,
			func(ctx context.Context, l *everyLock) error { return futex.WaitContext(ctx, &l.Word, 0) },
			wake, nil},
		{"WaitBitset", nil,
			func(ctx context.Context, l *everyLock) error { return futex.WaitBitset(ctx, &l.Word, 0, 4) },
			wake, nil},
		{"WaitUntil", nil,
			func(ctx context.Context, l *everyLock) error {
				return futex.WaitUntil(&l.Word, 0, time.Now().Add(hang))
			},
			wake, nil},
		{"WaitAny", nil,
			func(ctx context.Context, l *everyLock) error {
				_, err := futex.WaitAny(ctx, futex.Word{Addr: &l.Word})
				return err
			},
			wake, nil},
	}
	for _, w := range waits {
		rows = append(rows, row{w.name, w.round(bg), still}, row{w.name + " with a context", w.round(canceller(t)), still})
	}
	sites, rounds := 0, 0
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			r.Errnos, r.Spare = errnos, append(r.Spare, "munmap", "clock_gettime")
			rep := fuzz.FailEach(t, &r.Faults, r.Round)
			t.Logf("%d system calls, %d rounds, %d without an error: %q", rep.Sites, rep.Rounds, rep.Tolerated, rep.Without)
			if rep.Sites == 0 && r.Spare[0] != "futex_wake" { // who waits may look long enough
				t.Error("no system call could fail")
			}
			sites += rep.Sites
			rounds += rep.Rounds
		})
	}
	t.Logf("%d sites, %d calls refused", sites, rounds)
}

func really(ok bool, what string) error {
	if !ok {
		return errors.New("not " + what)
	}
	return nil
}

func taken(ok bool, err error) error { return errors.Join(err, really(ok, "free")) }
