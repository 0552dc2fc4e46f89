package futex

import (
	"context"
	"structs"
	"sync/atomic"
)

// A Mutex is a lock between processes, the fastest here: it does not survive
// its holder. A process that dies while it holds a Mutex, or in the middle of
// Unlock, may keep it for ever; use [RobustMutex] where that matters. One that
// dies while it waits harms nobody. The zero value is unlocked. A Mutex is four
// bytes that may lie in memory which several processes map.
//
// As with sync.Mutex a lock belongs to no goroutine: one may lock it and
// another unlock it, also in another process. Memory that is not declared with
// [Attach] must stay mapped until the calls on it have returned. In the terminology of the Go
// memory model, the n'th Unlock synchronizes before the n+1'st Lock returns.
//
// The algorithm is the third of Ulrich Drepper's "Futexes Are Tricky", but the
// states are not his 0, 1 and 2: 0 is unlocked, 1<<31 locked, 3<<30 locked while
// somebody may sleep. It is for Go programs only; what C and Python can share
// stands in the package's doc.
type Mutex struct {
	_     structs.HostLayout
	_     noCopy
	state atomic.Uint32
}

// The states of a Mutex. Whoever slept takes the lock as contended, because it
// can't know whether others still sleep. The low 30 bits stay 0, so that threads
// can name the word while they wait (see pinTo).
const (
	unlocked  = 0
	locked    = 1 << 31
	contended = 1<<31 | 1<<30 // locked, and somebody may sleep
)

func (m *Mutex) mustLock() {
	if err := m.lockSlow(context.Background()); err != nil {
		panic("futex: Lock: " + err.Error()) // the kernel refuses the memory
	}
}

// TryLock locks m if it is free and reports whether it did. It never blocks.
func (m *Mutex) TryLock() bool {
	if !m.state.CompareAndSwap(unlocked, locked) {
		return false
	}
	raceAcquire()
	return true
}

// Unlock unlocks m. It panics if m is not locked. It never blocks.
func (m *Mutex) Unlock() {
	// Lock and Unlock are one locked instruction each, 9.5 of 9.7 ns where one takes
	// 4.75. Lost: an Unlock that is a plain store, for which the sleeper makes the
	// fence by membarrier(2), as in package shm's rings (5.8 ns, 0.55 times glibc's).
	// A sleeper may rely on the mark of another one who is killed before his fence,
	// so that all would have to look again now and then; and the memory could not be
	// unmapped right after a Lock without stopping the world.
	//
	// SYNC mutex: the swap comes before the wake, and a sleeper makes the word
	// contended before it sleeps while it is so. Either the swap sees contended
	// and wakes, or the sleeper sees another value and does not sleep.
	raceRelease()
	switch m.state.Swap(unlocked) {
	case unlocked:
		panic("futex: Unlock of an unlocked Mutex")
	case contended:
		futexWake(&m.state, 1, matchAny)
	}
}

func (m *Mutex) lockSlow(ctx context.Context) error {
	mustHave(ctx)
	for look := backoffAt(addressOfWord(&m.state)); ; {
		if m.state.Load() == unlocked && m.state.CompareAndSwap(unlocked, locked) {
			raceAcquire()
			look.hit()
			return nil
		}
		if !look.again() {
			break
		}
	}
	defer done(beginWait(addressOfWord(&m.state)))
	key := lineKey{addr: &m.state}
	l, err := enterLine(ctx, key)
	if err != nil {
		return err
	}
	defer l.leave()
	p := pinTo(&m.state) // who dies with a wake passes it on
	defer p.unpin()
	// Whoever leaves with an error has failed to take the lock once more since
	// its last wake, and has left the word contended: the wake is not lost.
	for m.state.Swap(contended) != unlocked {
		if err := p.sleep(ctx, &m.state, contended); err != nil {
			if m.state.Swap(contended) == unlocked {
				break
			}
			return err
		}
	}
	raceAcquire()
	return nil
}

// noCopy makes vet complain about copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
