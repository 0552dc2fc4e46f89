package futex

import (
	"context"
	"errors"
	"fmt"
	"structs"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrBroken is what the parties of a [Barrier] get when one of them gave up,
// or somebody called Break or Reset while they waited.
var ErrBroken = errors.New("futex: the barrier is broken")

// A Barrier lets a number of parties wait for each other: when the last has
// come, all go on. It can be used again at once.
//
// It does not know who its parties are: one that died before it came is waited
// for, until somebody's context ends, and that breaks the barrier for all. One
// that died after it came has come. Init says how many there are. A Barrier is
// 16 bytes, aligned to 8, and works in any shared memory; memory that is not
// declared with [Attach] must stay mapped until the calls on it have returned.
//
// In the terminology of the Go memory model, each call of Wait synchronizes
// before the return of all calls of the same round.
type Barrier struct {
	_ structs.HostLayout
	_ noCopy
	// state: the low half as in sleepword.go; phase flips when a round ends or
	// is broken. Above it 12 bits parties that have come, broken, 4 bits past,
	// 15 bits round.
	state   atomic.Uint64
	parties atomic.Uint32
	// ends has a count for each time that phase flips, and a few more. Phase and
	// round come back to what they were, for one who was kept from looking;
	// ends does not, within 2^32.
	//
	// SYNC barrier-end: ends is counted after the load and before the change of
	// the state. A waiter reads ends, then the state, and sleeps on both. If
	// the state it sleeps on is not the one it has read but one that looks the
	// same, then two ends came after its reading; the second has loaded what
	// the first left, so that its count comes after it, too.
	ends atomic.Uint32
}

// MaxParties is the largest number of parties of a [Barrier].
const MaxParties = 1<<12 - 1

const (
	oneParty  = 1 << 32
	partyMask = MaxParties << 32
	barBroken = 1 << 44 // nobody can wait before Reset
	// past: how the last rounds ended, the latest lowest; 1: by Reset. A party
	// may be on its way out of a round while Reset ends the next ones.
	pastShift  = 45
	pastBits   = 4
	pastMask   = (1<<pastBits - 1) << pastShift
	roundShift = pastShift + pastBits
	roundMask  = 1<<(64-roundShift) - 1
)

// Init sets the number of parties, 1 to [MaxParties]; else it fails with EINVAL.
// Nobody may use b yet.
func (b *Barrier) Init(parties int) error {
	if parties < 1 || parties > MaxParties {
		return fmt.Errorf("futex: Barrier.Init(%d): want 1 to %d: %w", parties, MaxParties, unix.EINVAL)
	}
	b.parties.Store(uint32(parties))
	b.state.Store(0)
	return nil
}

// Wait waits until all parties have called it. Exactly one of them is told
// that it is the leader, for what is to be done once.
//
// If ctx ends first, the barrier is broken: this call returns ctx.Err(), the
// others that wait and all that come get [ErrBroken], until Reset. So does a
// party that finds out of its round's end only after four further rounds, for
// which it takes more parties than Init was told. It fails with EINVAL if Init
// was not called.
func (b *Barrier) Wait(ctx context.Context) (leader bool, err error) {
	return b.WaitFunc(ctx, nil)
}

// WaitFunc is [Barrier.Wait] with something to do when all have come: the last
// one runs its action before any goes on. If the action fails (or panics) the
// barrier is broken; that party returns the action's error, the others
// [ErrBroken]. If that party dies in its action, the others wait on, until
// their contexts end.
func (b *Barrier) WaitFunc(ctx context.Context, action func() error) (leader bool, err error) {
	mustHave(ctx)
	n := uint64(b.parties.Load())
	if n == 0 || n > MaxParties {
		return false, fmt.Errorf("futex: Barrier of %d parties: call Init first: %w", n, unix.EINVAL)
	}
	raceRelease()
	// Who has come may be let go, and the memory with it, at any moment.
	defer done(beginWait(addressOfState(&b.state)))
	for {
		t := ticket{ends: b.ends.Load()}
		v := b.state.Load()
		t.round = round(v)
		switch came := v&partyMask>>32 + 1; {
		case v&barBroken != 0:
			return false, ErrBroken
		case came > n: // the last one is still in its action, and this is one more
			return false, fmt.Errorf("futex: more than the %d parties of a Barrier: %w", n, unix.EINVAL)
		case came == 1 && v&waiters != 0:
			// Whoever ended the last round has not come to the wake, and may be
			// dead. The kernel would wake one for it, who must not be us.
			wakeAllSleepers(&b.state)
			continue
		case came < n || action != nil:
			if !b.state.CompareAndSwap(v, v+oneParty) {
				continue
			}
			if came == n {
				return b.act(t, action)
			}
			return false, b.wait(ctx, t)
		}
		if b.end(v, nextRound(v, false)) {
			raceAcquire()
			return true, nil
		}
	}
}

// Break breaks the barrier: all that wait and all that come get [ErrBroken],
// until Reset. It never blocks.
func (b *Barrier) Break() {
	defer done(beginWake(addressOfState(&b.state)))
	for {
		v := b.state.Load()
		if v&barBroken != 0 || b.end(v, broken(v)) {
			return
		}
	}
}

// Reset makes the barrier as new. Parties that wait get [ErrBroken]; those of a
// round that is over, on their way out, do not. It never blocks.
func (b *Barrier) Reset() {
	defer done(beginWake(addressOfState(&b.state)))
	for {
		v := b.state.Load()
		if v&(partyMask|barBroken) == 0 || b.end(v, nextRound(v, true)) {
			return
		}
	}
}

// Waiting returns how many parties wait at this moment: none if it is broken.
func (b *Barrier) Waiting() int {
	v := b.state.Load()
	if v&barBroken != 0 {
		return 0 // those that waited are on their way out
	}
	return int(v & partyMask >> 32)
}

// IsBroken reports whether the barrier is broken.
func (b *Barrier) IsBroken() bool { return b.state.Load()&barBroken != 0 }
