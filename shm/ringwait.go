package shm

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"
)

// waitEnd waits until blocked is false: first looking, then asleep on sleeps
// and on the life of the other end.
//
// SYNC ring-sleep: the sleeper stores sleeps, then looks again; the other end
// stores its position, then looks at sleeps (wakeEnd). All four are
// sequentially consistent, save the store of a busy end, for which the sleeper
// makes up (ring-plain); so at least one sees the other's store: nobody sleeps
// on a ring that has what he waits for.
//
// SYNC ring-death: who is killed between that store and the wake wakes the
// sleeper by his death. The sleeper looks at the ring again when the dead one is
// gone to his last thread, and only then says ErrPeerDead.
func (o *ring) waitEnd(ctx context.Context, sleeps, otherPlain *atomic.Uint32, peer *futex.Liveness, apart bool, blocked func() bool) error {
	need(ctx)
	if o.spin.Wait(apart, func() bool { return !blocked() }) {
		raceAcquire()
		return nil
	}
	start, nap := time.Now(), 20*time.Microsecond
	defer sleeps.Store(0)
	for blocked() {
		sleeps.Store(asleep)
		life := peer.Word()
		alive := life.Addr.Load() == life.Old
		dead := !alive && peer.Dead()
		settled := settle(otherPlain.Load() != 0)
		if !blocked() {
			break
		}
		var err error
		switch {
		case dead:
			return ErrPeerDead
		case alive:
			err = sleepOn(ctx, settled, futex.Word{Addr: sleeps, Old: asleep}, life)
		case life.Addr.Load() == 0: // nobody's: who comes will wake us
			err = futex.WaitContext(ctx, sleeps, asleep)
		default: // dying
			err = sleepFor(ctx, nap)
			nap = min(2*nap, time.Millisecond)
		}
		if err != nil {
			return err
		}
	}
	o.spin.Slept(time.Since(start))
	raceAcquire()
	return nil
}

// wakeEnd wakes the other end if it sleeps or is about to.
func wakeEnd(sleeps *atomic.Uint32) {
	if sleeps.Load() != 0 {
		wakeSleeper(sleeps)
	}
}

func wakeSleeper(sleeps *atomic.Uint32) {
	if sleeps.Swap(0) != 0 {
		futex.Wake(sleeps, 1)
	}
}

// rouseEnd makes the sleeper of an end look around again, be it asleep or about
// to be.
//
// SYNC end-rouse: sleeps changes, so that who has not yet fallen asleep doesn't,
// but does not become 0: were this process killed before its wake, the next one
// to commit would still find a sleeper there.
func rouseEnd(sleeps *atomic.Uint32) {
	if sleeps.Load() != 0 {
		sleeps.CompareAndSwap(asleep, asleep|joined)
		futex.Wake(sleeps, 1)
	}
}
