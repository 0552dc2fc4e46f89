package shm

import (
	"context"
	"fmt"
	"time"

	"github.com/rawipc/rawipc/futex"
)

// An end of a queue that one member alone has ever used needs no lock: none of
// the two locked instructions that a lock takes with each call. The first other
// one who wants the end asks for it, once, and from then on all use the lock.
//
// end.user says how far that has got. It is changed with the lock in hand, save by
// a member that leaves, or comes in the place of one that died (forget). The
// member that is alone says by end.busy that it is in a call.
//
// SYNC queue-alone: the member stores busy, then looks at user, and at the end of
// its call likewise; both stores are plain. Who wants the end stores user, makes
// the fence for both by membarrier(2), then looks at busy. At that moment the
// member, if it runs, has either stored busy, and is seen, or has yet to look at
// user, and sees that it is to use the lock; if it does not run, it was fenced
// when it lost its CPU. So who finds busy cleared has the end: no call without the
// lock is under way, none will begin, and what the latest one committed is there
// to be seen. Else he sleeps on turn and on the member's life, and is woken by
// the end of the call, or of the member.
//
// SYNC queue-alone-sleep: a sleeper at the other end sets sleeps, looks at user,
// makes the fence if somebody is alone here, then looks at pos (settled). A member
// that goes alone stores user with a fence. If the sleeper finds it as it was
// before, that was before the member's later looks at sleeps, which see it. If he
// finds that somebody has asked and got the end, the last pos that was stored
// without a fence could be seen before that was stored.
//
// Killed in a call, the member leaves what a holder of the lock leaves: nothing to
// repair. Killed while it is alone, it leaves the end to who asks next.
const (
	memberMask = 0xff    // who uses the end: the number of a member from 1, or 0
	alone      = 1 << 8  // without the lock
	asked      = 1 << 9  // but somebody has asked for the end
	everybody  = 1 << 10 // and no more the others
)

// begin takes the end of a member that is alone there. If it returns false, takeEnd
// is to be called.
func (q *queue) begin(e *end, s *seat, seated bool) bool {
	if !seated || !s.alone.Load() {
		return false
	}
	storePlain(&e.busy, q.me)
	ok := e.user.Load() == q.me|alone
	raceAcquire()
	return ok
}

// finish gives back what begin has taken. If it returns false, somebody has asked.
func (q *queue) finish(e *end) bool {
	raceRelease()
	storePlain(&e.busy, 0)
	return e.user.Load() == q.me|alone
}

// yieldEnd ends the time alone: somebody has asked, and may wait for it. The second
// store has a fence: he sees the first before this looks at turn.
func (q *queue) yieldEnd(e *end, s *seat) {
	storePlain(&e.busy, 0)
	s.alone.Store(false)
	wakeEnd(&e.turn)
}

// shared says that all use the end, of which the caller has the lock. Most do who have
// the lock; so it is small enough to be inlined.
func (q *queue) shared(e *end, s *seat) bool {
	if e.user.Load() != everybody {
		return false
	}
	raceAcquire() // it may be another process that has asked
	s.forget()
	return true
}

// over is a context that has ended, for those who don't wait.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// arrive sees to it that the caller, who holds the lock of end i, has the end.
func (q *queue) arrive(ctx context.Context, i int, seated bool) error {
	e, s := q.end(i), &q.seats[i]
	var u uint64
	// Members that leave make it two rounds more at most.
	for range 8 {
		u = e.user.Load()
		k := u & memberMask
		switch {
		case u == everybody:
			return nil
		case u == q.me:
			if seated {
				q.goAlone(e, s)
			}
			return nil
		case k > maxMembers || k == 0 && u != 0:
			return fmt.Errorf("%w: %#x uses an end of a queue", ErrCorrupt, u)
		case k == q.me && seated, u&alone == 0:
			// No call without the lock is under way: the caller has the only seat, or
			// there never was one.
		default:
			if !e.user.CompareAndSwap(u, u|asked) {
				continue
			}
			u |= asked
			if err := q.awaitTurn(ctx, i, k); err != nil {
				return err
			}
			raceAcquire()
			s.forget() // if it was this member
		}
		next := uint64(everybody)
		if k == 0 || k != q.me && !q.st.members[k-1][i].Alive() {
			next = q.me
		}
		e.user.CompareAndSwap(u, next)
	}
	return fmt.Errorf("%w: an end of a queue is used by many, last by %#x", ErrCorrupt, u)
}

// awaitTurn waits until member k is not in a call without the lock. The caller has
// asked, and holds the lock.
func (q *queue) awaitTurn(ctx context.Context, i int, k uint64) error {
	e, life, nap := q.end(i), &q.st.members[k-1][i], 20*time.Microsecond
	if !settle(true) {
		// It is forbidden to this process. No store takes longer to be seen; who only
		// tries waits too, or would never get the end of a member that is idle or dead.
		time.Sleep(unsettled)
	}
	defer e.turn.Store(0)
	for e.busy.Load() == k {
		e.turn.Store(asleep)
		word := life.Word()
		alive := word.Addr.Load() == word.Old
		switch {
		case e.busy.Load() != k || !alive && !life.Alive():
			return nil
		case !alive: // dying: it may still commit something
			if err := sleepFor(ctx, nap); err != nil {
				return err
			}
			nap = min(2*nap, time.Millisecond)
		default:
			if _, err := futex.WaitAny(ctx, futex.Word{Addr: &e.turn, Old: asleep}, word); err != nil {
				return err
			}
		}
	}
	return nil
}

// inCall reports whether a member that has been asked is still in a call without the
// lock. Who only tries looks before he asks, which is a fence on all CPUs.
func (q *queue) inCall(i int) bool {
	e := q.end(i)
	u := e.user.Load()
	k := u & memberMask
	if u != k|alone|asked || k == 0 || k > maxMembers || e.busy.Load() != k {
		return false
	}
	life := q.st.members[k-1][i].Word()
	return life.Addr.Load() == life.Old
}

// goAlone counts a call of the only member that has used the end, and gives the
// lock up after enough. The caller, who has the seat, then has the end without.
//
// It must not be had for less: to ask for an end takes longer than many calls,
// and this process has to be registered.
func (q *queue) goAlone(e *end, s *seat) {
	if mayGoPlain(&s.calls) {
		s.alone.Store(true)
		storePlain(&e.busy, q.me)
		e.user.Store(q.me | alone)
		e.lock.Unlock()
	}
}

// settled makes up for the fence that a member goes without which is alone at the
// end that the sleeper at end i waits for: see settle.
func (q *queue) settled(i int) bool {
	e := &q.st.recv
	switch i {
	case recvEnd, notifyEnd:
		e = &q.st.send
	case joinEnd: // Done has a fence
		return true
	}
	return settle(e.user.Load()&alone != 0)
}

// forget takes the trace of member k off the ends: it leaves, or is dead and the
// caller is to be member k. Nobody waits for it any more: who has asked was woken
// by its last call, or its death.
func (q *queue) forget(k uint64) {
	for _, e := range [...]*end{&q.st.send, &q.st.recv} {
		e.busy.CompareAndSwap(k, 0)
		for u := e.user.Load(); u&memberMask == k && !e.user.CompareAndSwap(u, 0); u = e.user.Load() {
		}
	}
}
