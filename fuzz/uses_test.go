package fuzz_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/shm"
)

// A use is one thing that the packages are for, done once, in a few milliseconds.
type use = func(ctx context.Context) error

// uses are all of them, by name.
var uses = func() map[string]use {
	all := make(map[string]use)
	for _, some := range []map[string]use{memoryUses, lockUses, descriptorUses, processUses} {
		maps.Copy(all, some)
	}
	return all
}()

// using makes something, uses it and closes it.
func using[T io.Closer](make func() (T, error), do func(ctx context.Context, v T) error) use {
	return func(ctx context.Context) error {
		v, err := make()
		if err != nil {
			return err
		}
		return errors.Join(do(ctx, v), v.Close())
	}
}

// inVain is a wait that ends with its context, and not before.
func inVain(ctx context.Context, wait func(ctx context.Context) error) error {
	return inVainFor(ctx, time.Millisecond, wait)
}

func inVainFor(ctx context.Context, d time.Duration, wait func(ctx context.Context) error) error {
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := wait(short); err != context.DeadlineExceeded {
		return fmt.Errorf("a wait in vain: %w", err)
	}
	return nil
}

// useName is a name of this process's.
func useName() string { return fmt.Sprintf("rawipc-use-%d", os.Getpid()) }

// lockUses are locks and waits in memory that processes share.
var lockUses = map[string]use{
	"lock": locks(nil, func(ctx context.Context, l *allLocks) error {
		return errors.Join(l.Robust.LockContext(ctx), inVain(ctx, l.Robust.LockContext), l.Robust.Unlock())
	}),
	"mutex": locks(nil, func(ctx context.Context, l *allLocks) error {
		err := errors.Join(l.Mutex.LockContext(ctx), inVain(ctx, l.Mutex.LockContext))
		l.Mutex.Unlock()
		return err
	}),
	"rwmutex": locks(nil, func(ctx context.Context, l *allLocks) error {
		return errors.Join(l.RW.RLockContext(ctx), inVain(ctx, l.RW.LockContext), l.RW.RUnlock(),
			l.RW.LockContext(ctx), inVain(ctx, l.RW.RLockContext), l.RW.Unlock())
	}),
	"recursive": locks(nil, func(ctx context.Context, l *allLocks) error {
		o := futex.NewOwner()
		return errors.Join(l.Recursive.LockContext(ctx, o), l.Recursive.LockContext(ctx, o),
			inVain(ctx, func(ctx context.Context) error { return l.Recursive.LockContext(ctx, futex.NewOwner()) }),
			l.Recursive.Unlock(o), l.Recursive.Unlock(o))
	}),
	"cond": locks(nil, func(ctx context.Context, l *allLocks) error {
		if err := l.Robust.LockContext(ctx); err != nil {
			return err
		}
		told, signaled := false, make(chan error)
		go func() {
			err := l.Robust.LockContext(ctx) // had once the other one waits
			told = true
			signaled <- errors.Join(err, l.Cond.Signal(), l.Robust.Unlock())
		}()
		err := l.Cond.WaitFor(ctx, &l.Robust, func() bool { return told })
		err = errors.Join(err, inVain(ctx, func(ctx context.Context) error { return l.Cond.Wait(ctx, &l.Robust) }))
		return errors.Join(err, l.Robust.Unlock(), <-signaled)
	}),
	"barrier": locks(initLocks, func(ctx context.Context, l *allLocks) error {
		met := make(chan error)
		go func() {
			_, err := l.Barrier.Wait(ctx)
			met <- err
		}()
		_, err := l.Barrier.Wait(ctx)
		return errors.Join(err, <-met)
	}),
	"semaphore": locks(initLocks, func(ctx context.Context, l *allLocks) error {
		return errors.Join(l.Semaphore.Acquire(ctx), l.Semaphore.AcquireOwned(ctx), inVain(ctx, l.Semaphore.Acquire),
			l.Semaphore.ReleaseOwned(), l.Semaphore.Release())
	}),
	"once": locks(nil, func(ctx context.Context, l *allLocks) error {
		return l.Once.Do(ctx, func() error { return nil })
	}),
	"wait": func(ctx context.Context) error { // alone in its memory, which has no robust lock
		return using(func() (*shm.Shared[futex.Event], error) { return shm.New[futex.Event](nil) },
			func(ctx context.Context, s *shm.Shared[futex.Event]) error {
				err := inVain(ctx, s.Ptr().Wait)
				s.Ptr().Set()
				return errors.Join(err, s.Ptr().Wait(ctx))
			})(ctx)
	},
	"liveness": locks(nil, func(ctx context.Context, l *allLocks) error {
		if err := l.Life.Publish(); err != nil {
			return err
		}
		err := inVain(ctx, func(ctx context.Context) error { _, err := futex.WaitAny(ctx, l.Life.Word()); return err })
		if !l.Life.Alive() {
			err = errors.Join(err, errors.New("it is not alive"))
		}
		return errors.Join(err, l.Life.Withdraw())
	}),
}

func locks(init func(*allLocks) error, do func(ctx context.Context, l *allLocks) error) use {
	return using(func() (*shm.Shared[allLocks], error) { return shm.New(init) },
		func(ctx context.Context, s *shm.Shared[allLocks]) error { return do(ctx, s.Ptr()) })
}
