package futex

import (
	"context"
	"errors"
	"fmt"
	"os"
	"structs"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrOwnerDead comes with a lock: the caller holds it, but the process that
// held it before died, so what the lock guards may be half changed. Repair it
// and call MarkConsistent, or Unlock without, and nobody can use the lock again.
var ErrOwnerDead = errors.New("futex: the lock's last owner died")

// ErrNotRecoverable is what a robust lock returns for ever after somebody
// unlocked it in the state that [ErrOwnerDead] tells of.
var ErrNotRecoverable = errors.New("futex: the lock's state was given up")

// notHeld is what call says of a lock that is another's, or free. The error is
// reported by fs.ErrPermission too.
func notHeld(call string) error {
	return fmt.Errorf("futex: %s of a lock that this process does not hold: %w", call, unix.EPERM)
}

// A RobustMutex is a lock between processes that survives its holder: when a
// process dies that holds it, by SIGKILL at any instruction, the next one to
// lock gets it, together with [ErrOwnerDead]. Nobody waits for ever for a dead
// owner or for a wake that died with somebody.
//
// The zero value is unlocked. It is 16 bytes, aligned to 8, in memory that each
// process has declared with [Attach] (package shm does); elsewhere its methods
// return [ErrNotAttached]. A lock belongs to a process: one goroutine may lock
// it and another unlock it, but no other process. In the terminology of the Go
// memory model, the n'th Unlock, or the death of the n'th owner, synchronizes
// before the n+1'st Lock returns.
//
// After an owner's death the lock is not given on before the owner is gone to
// its last thread, as a thread in the kernel can still write to the memory for
// some milliseconds after the process was killed: so a thread that can't die
// (in an uninterruptible system call, or held by a debugger) delays ErrOwnerDead.
//
// The algorithm is this project's, from the kernel's robust futexes and glibc's
// use of them; it differs in that owners are processes, in that a dead owner's
// lock stays his until he is fully dead, and in that the bit which says that
// somebody sleeps is only ever cleared by an operation that wakes all.
type RobustMutex struct {
	_ structs.HostLayout
	_ noCopy
	// state is, from the low end: 30 bits thread id of the owner's guardian,
	// or 0; ownerDied; waiters; 32 bits identity of the owner's process, or of
	// the last one.
	state atomic.Uint64
	// trouble is written by the owner only.
	trouble atomic.Uint32
	_       uint32
}

// The parts of a robust lock's state. The kernel knows those of the low half.
const (
	tidMask   = 1<<30 - 1
	ownerDied = 1 << 30 // the kernel found the owner dying
	waiters   = 1 << 31 // somebody may sleep on the low half
)

// The values of trouble.
const (
	consistent   = 0
	inconsistent = 1 // the last owner died, and nobody has marked it consistent
	givenUp      = 2 // not recoverable
)

// recheck is how often a waiter looks whether the owner is alive, for what the
// kernel can't mark: the 2,049th lock of a thread, or an owner that took the
// lock when its guardian was dead already. Tests show, by making it long, that
// nothing else needs it where the kernel is told who sleeps (see pin); only slow
// paths read it.
var recheck = 250 * time.Millisecond

func free(v uint64) bool      { return v&(tidMask|ownerDied) == 0 }
func unowned(v uint64) bool   { return v&tidMask == 0 }
func owner(v uint64) uint32   { return uint32(v >> 32) }
func lowPart(v uint64) uint32 { return uint32(v) }

// Lock locks m. It blocks until m is free; it can't be cancelled.
//
// With nil and with [ErrOwnerDead] the caller holds the lock, with any other
// error it does not: [ErrNotRecoverable], [ErrNotAttached].
func (m *RobustMutex) Lock() error { return m.LockContext(context.Background()) }

// LockContext is [RobustMutex.Lock]: it blocks until m is free, or returns
// ctx.Err(), without the lock, when ctx ends first. A free lock is taken even if ctx has ended.
func (m *RobustMutex) LockContext(ctx context.Context) error {
	if me := quickMe(&m.state); me != 0 {
		if v := m.state.Load(); free(v) && m.state.CompareAndSwap(v, me|v&waiters) {
			if m.trouble.Load() == consistent {
				raceAcquire()
				return nil
			}
			return m.acquired(regionOf(addressOfState(&m.state)), false)
		}
	}
	return m.lock(ctx)
}

// lock is LockContext where something is not as usual.
func (m *RobustMutex) lock(ctx context.Context) error {
	mustHave(ctx)
	addr := addressOfState(&m.state)
	r := regionOf(addr)
	if r == nil {
		return ErrNotAttached
	}
	me, err := r.me(addr)
	if err != nil {
		return err
	}
	died, err := m.lockSlow(ctx, r, me)
	if err != nil {
		return err
	}
	return m.acquired(r, died)
}

// TryLock locks m if that is possible at once: (true, nil), or (true,
// ErrOwnerDead) if the owner is dead. (false, nil) means that it is held, or
// that its dead owner is not quite gone. It never blocks.
func (m *RobustMutex) TryLock() (bool, error) {
	addr := addressOfState(&m.state)
	r := regionOf(addr)
	if r == nil {
		return false, ErrNotAttached
	}
	me, err := r.me(addr)
	if err != nil {
		return false, err
	}
	for {
		v := m.state.Load()
		died := !free(v)
		if died && !r.fullyDead(owner(v)) {
			return false, nil
		}
		if m.state.CompareAndSwap(v, me|v&waiters) {
			err := m.acquired(r, died)
			return err == nil || err == ErrOwnerDead, err
		}
	}
}

// acquired notes a death, and gives a lock that was given up to the next one,
// who will do the same.
func (m *RobustMutex) acquired(r *Region, died bool) error {
	raceAcquire()
	switch t := m.trouble.Load(); {
	case t == consistent && !died:
		return nil
	case t == consistent || t == inconsistent && died:
		// A death here leaves ownerDied in the state for the next one.
		m.trouble.Store(inconsistent)
		return ErrOwnerDead
	case t == inconsistent:
		// Unlock gives a lock up, death leaves ownerDied: a live owner's lock
		// can't be had in this state, save by a peer that breaks the rules.
		return ErrOwnerDead
	}
	m.release(r)
	return ErrNotRecoverable
}

// MarkConsistent says that what the lock guards is in order again. The caller
// holds the lock and got ErrOwnerDead with it; else it fails with EPERM (not
// the holder) or EINVAL (nothing to mark).
func (m *RobustMutex) MarkConsistent() error {
	r := regionOf(addressOfState(&m.state))
	switch {
	case r == nil:
		return ErrNotAttached
	case !m.heldBy(r):
		return notHeld("RobustMutex.MarkConsistent")
	case !m.trouble.CompareAndSwap(inconsistent, consistent):
		return fmt.Errorf("futex: MarkConsistent of a lock whose last owner did not die: %w", unix.EINVAL)
	}
	return nil
}

func (m *RobustMutex) heldBy(r *Region) bool {
	v := m.state.Load()
	return owner(v) == r.id && !free(v)
}

// Unlock unlocks m. It fails with EPERM, and changes nothing, if this process
// does not hold it. After ErrOwnerDead without MarkConsistent it gives the lock
// up: this and all later waiters get ErrNotRecoverable. It never blocks.
func (m *RobustMutex) Unlock() error {
	if me := quickMe(&m.state); me != 0 && m.trouble.Load() == consistent {
		raceRelease()
		if m.state.CompareAndSwap(me, 0) {
			return nil
		}
	}
	return m.unlock()
}

// unlock is Unlock where something is not as usual.
func (m *RobustMutex) unlock() error {
	r := regionOf(addressOfState(&m.state))
	if r == nil {
		return ErrNotAttached
	}
	if !m.heldBy(r) {
		return notHeld("RobustMutex.Unlock")
	}
	if m.trouble.Load() == inconsistent {
		m.trouble.Store(givenUp)
	}
	raceRelease()
	m.release(r)
	return nil
}

// release frees a lock that this process holds.
//
// SYNC robust-unlock: while somebody may sleep, freeing and waking are one
// system call, so that nobody can die between them, and the waiters bit stays:
// the one who is woken need not know whether others sleep. Only when nobody was
// woken is the bit cleared, by a call that wakes all, so that whoever went to
// sleep meanwhile, on the word with the bit, looks again.
func (m *RobustMutex) release(r *Region) {
	v := m.state.Load()
	for v&waiters == 0 && v&ownerDied == 0 {
		if m.state.CompareAndSwap(v, 0) {
			return
		}
		v = m.state.Load()
	}
	// The word is named by its address from here on: Detach waits.
	r.waking.Add(1)
	w := lowWord(&m.state)
	if n, _ := futexWakeOp(w, 1, w, 1, setWaiters); n == 0 {
		futexWakeOp(w, maxInt32, w, 1, clearWaiters)
	}
	r.waking.Add(-1)
}

// The two changes of an unlock. Their comparison (old value equal to 0) never
// holds for the first, whose word has an owner; for the second it does no harm.
var (
	setWaiters   = Op{Do: OpSet, Arg: 31, Shift: true, Cmp: CmpEqual}.encode()
	clearWaiters = Op{Do: OpAndNot, Arg: 31, Shift: true, Cmp: CmpEqual}.encode()
)

// lockSlow waits for the lock. It returns whether the last owner died.
func (m *RobustMutex) lockSlow(ctx context.Context, r *Region, me uint64) (died bool, err error) {
	for look := backoffAt(addressOfState(&m.state)); ; {
		v := m.state.Load()
		if free(v) && m.state.CompareAndSwap(v, me|v&waiters) {
			look.hit()
			return false, nil
		}
		if !look.again() {
			break
		}
	}
	if !ManyCPUs() {
		// As a rule the owner was made to wait by our coming awake, and is
		// through in a moment.
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		if v := m.state.Load(); free(v) && m.state.CompareAndSwap(v, me|v&waiters) {
			return false, nil
		}
	}
	r.waiters.Add(1)
	defer r.waiters.Add(-1)
	w := lowWord(&m.state)
	key := lineKey{addr: w}
	l, err := enterLine(ctx, key)
	if err != nil {
		return false, err
	}
	defer l.leave()
	// SYNC robust-sleep: the word is named before the first look that may lead
	// to sleep, until the lock is taken. A thread that dies with a wake it was
	// given has its successor woken by the kernel.
	p := pinTo(w)
	defer p.unpin()
	return m.lockPinned(ctx, r, me, w)
}

func (m *RobustMutex) lockPinned(ctx context.Context, r *Region, me uint64, w *atomic.Uint32) (died bool, err error) {
	dying := 20 * time.Microsecond
	probe := true
	for {
		v := m.state.Load()
		if unowned(v) {
			// SYNC robust-death: a marked owner still owns until it is gone to
			// the last thread; waiting comes before taking, or the next one
			// could not know whom to wait for.
			if v&ownerDied != 0 && !r.fullyDead(owner(v)) {
				if err := sleepFor(ctx, dying); err != nil {
					// The kernel's one wake for the owner's death may be ours.
					futexWake(w, 1, matchAny)
					return false, err
				}
				dying = min(2*dying, time.Millisecond)
				continue
			}
			if m.state.CompareAndSwap(v, me|v&waiters) {
				return v&ownerDied != 0, nil
			}
			continue
		}
		if probe && r.fullyDead(owner(v)) {
			if m.state.CompareAndSwap(v, me|v&waiters) {
				return true, nil
			}
			continue
		}
		if v&waiters == 0 {
			if !m.state.CompareAndSwap(v, v|waiters) {
				continue
			}
			v |= waiters
		}
		var ts unix.Timespec
		err := wait(ctx, w, lowPart(v), matchAny, monotonicAfter(recheck, &ts))
		if probe = err == os.ErrDeadlineExceeded; probe {
			continue
		}
		// An error here comes from a wait that no wake has ended: nothing is
		// lost by leaving.
		if err != nil {
			return false, err
		}
	}
}

// sleepFor is time.Sleep under a context.
func sleepFor(ctx context.Context, d time.Duration) error {
	if ctx.Done() == nil {
		time.Sleep(d)
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
