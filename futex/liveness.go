package futex

import (
	"fmt"
	"structs"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Liveness tells one process of the death of another: who published it is
// alive as long as the word says so, and the kernel changes the word and wakes
// a sleeper when that process dies. With [WaitAny] one can wait for a message
// and for the death of its sender in one call.
//
// The zero value is nobody's. It is 16 bytes, aligned to 8, in memory that each
// process has declared with [Attach]. The kernel wakes one sleeper: where
// several processes watch one Liveness, who wakes first wakes the others. Its
// methods may be called concurrently.
type Liveness struct {
	_     structs.HostLayout
	_     noCopy
	state atomic.Uint64 // as a RobustMutex's, always with waiters
	_     uint64
}

// Publish makes the calling process the one whose life the word tells of. It
// replaces whoever did so before; it never blocks.
func (l *Liveness) Publish() error {
	addr := addressOfState(&l.state)
	r := regionOf(addr)
	if r == nil {
		return ErrNotAttached
	}
	me, err := r.me(addr)
	if err != nil {
		return err
	}
	l.state.Store(me | waiters)
	outlive()
	return nil
}

// outlive returns only if this process's guardian was alive when it was called:
// the kernel will mark what was published before.
//
// SYNC liveness-publish: a thread of a killed process can run on in user space
// when the guardian has gone, and what it publishes then nobody marks. But all
// threads are given the signal before the first one goes, and who has it does
// not come back from a system call, whichever.
func outlive() { unix.Getpid() }

// Claim is Publish where the word is nobody's, or its publisher is gone to its
// last thread; else it reports false. It never blocks.
func (l *Liveness) Claim() (bool, error) {
	addr := addressOfState(&l.state)
	r := regionOf(addr)
	if r == nil {
		return false, ErrNotAttached
	}
	v := l.state.Load()
	if v != 0 && !r.fullyDead(owner(v)) {
		return false, nil
	}
	me, err := r.me(addr)
	if err != nil {
		return false, err
	}
	ok := l.state.CompareAndSwap(v, me|waiters)
	outlive()
	return ok, nil
}

// Dead reports whether a process has published the word, and not withdrawn it,
// and is gone to its last thread. It costs a system call.
func (l *Liveness) Dead() bool {
	r := regionOf(addressOfState(&l.state))
	v := l.state.Load()
	return r != nil && v != 0 && r.fullyDead(owner(v))
}

// Clear makes the word nobody's if its publisher is gone to its last thread,
// and reports whether it is nobody's now.
func (l *Liveness) Clear() bool {
	r := regionOf(addressOfState(&l.state))
	v := l.state.Load()
	return v == 0 || r != nil && r.fullyDead(owner(v)) && l.state.CompareAndSwap(v, 0)
}

// Withdraw makes the word nobody's and wakes who watches it: for a process
// that leaves without dying. It fails with EPERM if the word is another's.
func (l *Liveness) Withdraw() error {
	r := regionOf(addressOfState(&l.state))
	if r == nil {
		return ErrNotAttached
	}
	// Nobody's but not yet woken: if this thread dies there, the kernel wakes
	// one, as it would have for the word's owner.
	r.waking.Add(1)
	defer r.waking.Add(-1)
	w := lowWord(&l.state)
	p := pinTo(w)
	defer p.unpin()
	v := l.state.Load()
	if owner(v) != r.id || !l.state.CompareAndSwap(v, 0) {
		return fmt.Errorf("futex: Withdraw of a Liveness that this process has not published: %w", unix.EPERM)
	}
	futexWake(w, maxInt32, matchAny)
	return nil
}

// Alive reports whether a process has published the word and is not gone to its
// last thread. It costs a system call.
func (l *Liveness) Alive() bool {
	r := regionOf(addressOfState(&l.state))
	v := l.state.Load()
	return r != nil && v != 0 && !r.fullyDead(owner(v))
}

// Word is what to sleep on for the publisher's death, as it is now: [WaitAny]
// with it returns when the publisher is dying (not yet gone: see Alive), has
// withdrawn, or was before.
func (l *Liveness) Word() Word {
	w := Word{Addr: lowWord(&l.state), Old: lowPart(l.state.Load())}
	if w.Old&tidMask == 0 {
		w.Old |= tidMask // dying or dead: never asleep on that
	}
	return w
}
