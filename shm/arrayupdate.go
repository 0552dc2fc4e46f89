package shm

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rawipc/rawipc/futex"
)

// Update has f change the elements, in place. It blocks until f can have them
// for itself. It returns f's error; what f had changed before stays changed.
//
// If an earlier call did not finish, because its process died or its function
// panicked, Update returns [futex.ErrOwnerDead] and f is not called: see
// [Array.Recover]. f must not use a's methods other than Len, and not keep the
// slice. Update panics if f is nil.
func (a *Array[T]) Update(f func([]T) error) error {
	return a.UpdateContext(context.Background(), f)
}

// UpdateContext is [Array.Update] that returns ctx.Err() if ctx ends while it
// waits for its turn. While f runs it can't be cancelled.
func (a *Array[T]) UpdateContext(ctx context.Context, f func([]T) error) (err error) {
	need(ctx)
	needFunc(f)
	if err := a.lock(ctx); err != nil {
		return err
	}
	a.st.dirty.Store(1)
	finished := false
	defer func() { err = a.leave(finished, err) }()
	err = f(a.xs)
	finished = true
	return err
}

// Recover has f repair the elements after a call that did not finish. When f
// returns nil, the array is in order, and the methods work again; with an error,
// which Recover returns, it is as before. Where there is nothing to repair,
// because another process was faster, say, Recover returns nil and f is not
// called. It blocks as [Array.Update] does.
func (a *Array[T]) Recover(f func([]T) error) error {
	return a.RecoverContext(context.Background(), f)
}

// RecoverContext is [Array.Recover] that returns ctx.Err() if ctx ends while it
// waits for its turn. While f runs it can't be cancelled.
func (a *Array[T]) RecoverContext(ctx context.Context, f func([]T) error) (err error) {
	need(ctx)
	needFunc(f)
	if a.st == nil {
		return os.ErrClosed
	}
	if err := a.own(a.st.mu.LockContext(ctx)); err != nil {
		return err
	}
	finished := a.st.dirty.Load() == 0
	defer func() { err = a.leave(finished, err) }()
	if !finished {
		err = f(a.xs)
		finished = err == nil
	}
	return err
}

// leave gives the lock back, after a change that was finished or not: what a
// function leaves that panicked is as what a dead process leaves.
func (a *Array[T]) leave(finished bool, err error) error {
	if finished {
		a.st.dirty.Store(0)
	}
	if uerr := a.st.mu.Unlock(); err == nil {
		err = uerr
	}
	return err
}

// lock takes the lock for elements that are in order.
//
// SYNC array-dirty: dirty is set before the first element is changed and
// cleared after the last, always under the lock. The lock of a dead process is
// not given on before the process is gone to its last thread; so what dirty
// says then is final.
func (a *Array[T]) lock(ctx context.Context) error {
	if a.st == nil {
		return os.ErrClosed
	}
	if err := a.own(a.st.mu.LockContext(ctx)); err != nil {
		return err
	}
	if a.st.dirty.Load() != 0 {
		a.st.mu.Unlock()
		return errUnfinished
	}
	return nil
}

var errUnfinished = fmt.Errorf("shm: an Array's last change was not finished: %w", futex.ErrOwnerDead)

// own settles what came with the lock: dirty says whether the dead owner left
// something to repair.
func (a *Array[T]) own(err error) error {
	if err != nil && errors.Is(err, futex.ErrOwnerDead) {
		return a.st.mu.MarkConsistent()
	}
	return err
}
