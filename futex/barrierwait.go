package futex

import "context"

// A ticket is what a party has from when it came.
type ticket struct {
	round uint64
	ends  uint32
}

// nextRound is v with nobody there yet.
func nextRound(v uint64, broke bool) uint64 {
	next := v&waiters | ^v&phase | (v&pastMask)<<1&pastMask | (round(v)+1)<<roundShift
	if broke {
		next |= 1 << pastShift
	}
	return next
}

// broken is v broken.
func broken(v uint64) uint64 { return (v | barBroken) ^ phase }

func round(v uint64) uint64 { return v >> roundShift }

// end goes from v to the state to, in which those who sleep have to leave. The
// caller keeps the memory from being detached.
func (b *Barrier) end(v, to uint64) bool {
	b.ends.Add(1)
	if v&waiters == 0 {
		return b.state.CompareAndSwap(v, to)
	}
	// Between the change and the wake a death wakes one sleeper, who wakes the
	// others (see wait).
	w, pair := lowWord(&b.state), b.pair()
	if pair {
		to &^= waiters
	}
	p := pinTo(w)
	ok := b.state.CompareAndSwap(v, to)
	switch {
	case ok && pair:
		futexWake(w, maxInt32, matchAny)
	case ok:
		wakeAllSleepers(&b.state)
	}
	p.unpin()
	return ok
}

// pair reports whether one at most sleeps in each round. Then whoever ends it
// clears waiters with the same change, which spares the kernel that.
//
// SYNC barrier-pair: after a death between change and wake there is at most one
// to wake, and whom else the kernel may wake for it has come to a later round:
// he passes the wake on before he sleeps again. He does so when woken in vain, and
// as his is the only round that goes on, nobody passes it back.
func (b *Barrier) pair() bool { return b.parties.Load() == 2 }

// act runs the last party's action; its error, or its panic, breaks the barrier.
func (b *Barrier) act(t ticket, action func() error) (leader bool, err error) {
	returned := false
	defer func() {
		if !returned {
			b.leave(t, nil)
		}
	}()
	err = action()
	returned = true
	if err != nil {
		b.leave(t, nil)
		return false, err
	}
	for {
		v := b.state.Load()
		if over, _ := b.outcome(v, t); over {
			return false, ErrBroken // while the action ran
		}
		if b.end(v, nextRound(v, false)) {
			raceAcquire()
			return true, nil
		}
	}
}

// wait sleeps until the round of t is over.
func (b *Barrier) wait(ctx context.Context, t ticket) error {
	w := lowWord(&b.state)
	key := lineKey{w, t.round}
	l, err := enterLine(ctx, key)
	if err != nil {
		return b.leave(t, err)
	}
	defer l.leave()
	p := pinTo(w)
	defer p.unpin()
	yielded, slept, long := false, false, false
	for {
		ends := b.ends.Load()
		v := b.state.Load()
		if over, err := b.outcome(v, t); over {
			// Waiters is still there if whoever ended the round died before the
			// wake: then that is ours to do. Once somebody has come to the next
			// round it was done (see WaitFunc), and the bit is that one's.
			if v&waiters != 0 && (v&partyMask == 0 || v&barBroken != 0) {
				wakeAllSleepers(&b.state)
			}
			raceAcquire()
			return err
		}
		if !yielded {
			yielded = true
			if yielderOf(addressOfState(&b.state)).yield(func() bool { return b.state.Load() != v }) {
				continue
			}
		}
		if v&waiters == 0 {
			if !b.state.CompareAndSwap(v, v|waiters) {
				continue
			}
			v |= waiters
		}
		if slept && b.pair() {
			futexWake(w, 1, matchAny)
		}
		if long, err = sleepOnBoth(ctx, &b.state, v, &b.ends, ends, long && p.told()); err != nil {
			return b.leave(t, err)
		}
		slept = true
	}
}

// outcome tells whether the round of t is over in state v, which was loaded
// after t was made, and how it ended.
func (b *Barrier) outcome(v uint64, t ticket) (over bool, err error) {
	ago := (round(v) - t.round) & roundMask
	switch {
	case b.ends.Load()-t.ends > roundMask/2: // all around
		return true, ErrBroken
	case ago == 0 && v&barBroken == 0:
		return false, nil
	case ago == 0 || ago > pastBits || v>>(pastShift+ago-1)&1 != 0:
		return true, ErrBroken
	}
	return true, nil
}

// leave breaks the barrier because one party gives up, unless its round is over.
func (b *Barrier) leave(t ticket, cause error) error {
	for {
		v := b.state.Load()
		if over, err := b.outcome(v, t); over {
			raceAcquire()
			return err
		}
		if b.end(v, broken(v)) {
			return cause
		}
	}
}
