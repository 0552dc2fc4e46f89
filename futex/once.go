package futex

import (
	"context"
	"errors"
	"structs"
	"sync/atomic"
)

// A Once has something done once, by whichever process comes first. Unlike
// sync.Once it survives that process: if it is killed before the function has
// returned, the next caller runs the function again.
//
// The zero value has done nothing. It is 24 bytes, aligned to 8, in memory that
// each process has declared with [Attach] (package shm does). What the function
// did synchronizes before the return of every Do that returns nil.
type Once struct {
	_    structs.HostLayout
	_    noCopy
	done atomic.Uint32
	_    uint32
	mu   RobustMutex
}

// Do calls f if no call of it has succeeded yet, in any process. It blocks
// while another process or goroutine is at it, until that one is done, has
// failed or has died, or ctx ends. f must be able to start over: a process
// killed in the middle of it leaves what it left.
//
// It returns f's error, after which the next Do calls its f again; ctx.Err();
// or [ErrNotAttached]. A panic of f counts as a failure. If f calls Do of the
// same Once, it waits for itself.
func (o *Once) Do(ctx context.Context, f func() error) error {
	if o.done.Load() != 0 {
		raceAcquire()
		return nil
	}
	mustHave(ctx)
	err := o.mu.LockContext(ctx)
	if errors.Is(err, ErrOwnerDead) {
		// Done or not done: there is no third state.
		if err = o.mu.MarkConsistent(); err != nil {
			o.mu.Unlock()
		}
	}
	if err != nil {
		return err
	}
	defer o.mu.Unlock()
	if o.done.Load() != 0 {
		return nil
	}
	if err := f(); err != nil {
		return err
	}
	raceRelease()
	o.done.Store(1)
	return nil
}
