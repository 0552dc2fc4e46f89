package shm

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"
)

// waitEnd waits until blocked is false: first looking, then asleep on sleeps.
//
// SYNC ring-sleep: the sleeper stores sleeps, then looks again; the other end
// stores its position, then looks at sleeps (wakeEnd). All four are
// sequentially consistent, so at least one sees the other's store: nobody
// sleeps on a ring that has what he waits for.
func waitEnd(ctx context.Context, sleeps *atomic.Uint32, spin *futex.Spinner, apart bool, blocked func() bool) error {
	if spin.Wait(apart, func() bool { return !blocked() }) {
		raceAcquire()
		return nil
	}
	start := time.Now()
	for blocked() {
		sleeps.Store(asleep)
		if !blocked() {
			break
		}
		if err := futex.WaitContext(ctx, sleeps, asleep); err != nil {
			sleeps.Store(0)
			return err
		}
	}
	sleeps.Store(0)
	spin.Slept(time.Since(start))
	raceAcquire()
	return nil
}

// wakeEnd wakes the other end if it sleeps or is about to.
func wakeEnd(sleeps *atomic.Uint32) {
	if sleeps.Load() != 0 && sleeps.Swap(0) != 0 {
		futex.Wake(sleeps, 1)
	}
}
