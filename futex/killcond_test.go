package futex_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
)

// What the kill harness does to Cond, Barrier and Once. Waiters of a Cond need
// their look around after some deaths. It comes every 150 ms here, where it is
// said to come every 250, and the survivors have a second of rest before they
// count as stuck. Barrier and Once look for nothing.
//
// In each round an heir does what the dead one's program has left undone, and
// only that: what is the primitive's own to do, nobody does for it.

const condPages = 2 * 4096

// placed maps a scenario's state to a T.
func placed[T any](s *fuzz.Segment) (*T, *futex.Region) {
	futex.TellKernel(true)
	futex.SetLookAround(lookEvery)
	r, err := futex.Attach(s.Mem, s.File)
	if err != nil {
		panic(err)
	}
	v, err := futex.At[T](s.Mem, 0)
	if err != nil {
		panic(err)
	}
	return v, r
}

// room is a Cond with its lock, and how the waits of the victim's process go.
type room struct {
	mu       futex.RobustMutex
	cond     futex.Cond
	sent     atomic.Int32 // signals for the victim's process
	returned atomic.Int32 // its waits that have returned, with the lock held
	sender   atomic.Int32 // 1: somebody sends
	in       atomic.Int32 // holders of mu
}

// enter locks. It reports whether the last holder died.
func (r *room) enter() (died bool, err error) { return r.entered(r.mu.Lock()) }

func (r *room) entered(err error) (died bool, _ error) {
	if died = errors.Is(err, futex.ErrOwnerDead); died {
		r.in.Store(0)
		err = r.mu.MarkConsistent()
	}
	if n := r.in.Add(1); err == nil && n != 1 {
		err = fmt.Errorf("%d hold the lock", n)
	}
	return died, err
}

func (r *room) leave() error {
	r.in.Add(-1)
	return r.mu.Unlock()
}

// wait waits for one signal. In Wait the lock passes through other hands.
func (r *room) wait(note func()) error {
	if _, err := r.enter(); err != nil {
		return err
	}
	r.in.Add(-1)
	if _, err := r.entered(r.cond.Wait(bg, &r.mu)); err != nil {
		return err
	}
	note()
	return r.leave()
}

func (r *room) victim() error { return r.wait(func() { r.returned.Add(1) }) }

func (r *room) sleeper(when fuzz.When) fuzz.Peer {
	return fuzz.Peer{Name: "sleeper", When: when, Run: func(*fuzz.Cue) error { return r.wait(func() {}) }}
}

func (r *room) insider() fuzz.Peer {
	return fuzz.Peer{Name: "insider", When: fuzz.Asleep, Inside: true, Run: func(*fuzz.Cue) error { return r.victim() }}
}

// waker gives the victim's process n signals when the victim sleeps. In the end
// it gives one to the sleeper behind, if the program must: if all of the first
// ones have ended a wait, or somebody died with the lock held.
func (r *room) waker(n int) fuzz.Peer {
	return fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		c.Ready()
		c.Blocked()
		r.sent.Store(int32(n))
		if err := r.cond.Notify(n); err != nil {
			return err
		}
		c.Over()
		died, err := r.enter()
		if err != nil {
			return err
		}
		if died || r.returned.Load() >= r.sent.Load() {
			err = r.cond.Signal()
		}
		return errors.Join(err, r.leave())
	}}
}

// rest gives those signals that the victim has not: all, or those of one Notify.
// inside and outside say how many wait in the victim's process and in others.
func (r *room) rest(broadcast bool, inside, outside int) fuzz.Peer {
	return fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		c.Ready()
		c.Over()
		waits, sent := r.cond.Waiters()
		switch {
		case broadcast && (waits != inside+outside && waits != outside || sent > 0):
			return nil // it has begun, and must come to an end
		case waits > sent:
			return r.cond.Notify(waits - sent)
		}
		return nil
	}}
}

// dead is a process that died with a signal that it had taken, before it had
// the lock again; or, if it only waited, without one.
func (r *room) dead(signalled bool) fuzz.Peer {
	return fuzz.Peer{Name: "dead waiter", When: fuzz.Early, Dies: true, Run: func(c *fuzz.Cue) error {
		go r.wait(func() {})
		for waits := 0; waits == 0; waits, _ = r.cond.Waiters() {
			time.Sleep(100 * time.Microsecond)
		}
		if signalled {
			if _, err := r.enter(); err != nil {
				return err
			}
			if err := r.cond.Signal(); err != nil {
				return err
			}
			for waits := 1; waits != 0; waits, _ = r.cond.Waiters() {
				time.Sleep(100 * time.Microsecond)
			}
		}
		c.Ready()
		select {}
	}}
}

// check: the room can be used, and nobody's wait or signal is left.
func (r *room) check(bool) error {
	if _, err := r.enter(); err != nil {
		return err
	}
	done := make(chan error)
	r.in.Add(-1)
	go func() {
		_, err := r.enter()
		err = errors.Join(err, r.cond.Broadcast(), r.leave())
		done <- err
	}()
	_, err := r.entered(r.cond.Wait(bg, &r.mu))
	return errors.Join(err, r.leave(), <-done)
}

func condOp(name string, build func(r *room) fuzz.Op) *fuzz.Scenario {
	return fuzz.RegisterOp("futex/"+name, condPages, func(s *fuzz.Segment) fuzz.Op {
		r, region := placed[room](s)
		op := build(r)
		op.Check, op.Close = r.check, region.Detach
		return op
	})
}

var (
	killCondWait = condOp("cond wait", func(r *room) fuzz.Op {
		return fuzz.Op{
			Do: r.victim,
			Casts: []fuzz.Cast{
				cast("nobody", r.waker(1)),
				cast("sleeper", r.waker(1), r.sleeper(fuzz.Behind)),
				// Here there is one for each, as processes take turns.
				cast("sleepers inside", r.waker(4), r.insider(), r.insider(), r.sleeper(fuzz.Behind)),
			},
		}
	})
	// The victim finds the dead one, while the sleeper does not look.
	killCondLook = condOp("cond look around", func(r *room) fuzz.Op {
		sleeper := r.sleeper(fuzz.Asleep)
		sleeper.Run = func(*fuzz.Cue) error {
			futex.SetLookAround(100 * time.Millisecond)
			return r.wait(func() {})
		}
		heir := fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
			c.Ready()
			c.Blocked()
			time.Sleep(30 * time.Millisecond)
			return r.cond.Signal()
		}}
		return fuzz.Op{
			Do:    r.victim,
			Casts: []fuzz.Cast{cast("dead waiter and sleeper", heir, r.dead(true), sleeper)},
		}
	})
	killCondSignal = condOp("cond signal", func(r *room) fuzz.Op {
		return fuzz.Op{
			Do: r.cond.Signal,
			Casts: []fuzz.Cast{
				cast("nobody", r.rest(false, 0, 0)),
				cast("sleeper", r.rest(false, 0, 1), r.sleeper(fuzz.Asleep)),
				cast("two sleepers", r.rest(false, 0, 2), r.sleeper(fuzz.Asleep), r.sleeper(fuzz.Asleep)),
				cast("sleepers inside", r.rest(false, 2, 1), r.insider(), r.insider(), r.sleeper(fuzz.Asleep)),
				cast("sleeper and dead", r.dead(false), r.rest(false, 0, 1), r.sleeper(fuzz.Asleep)),
				cast("sleeper and dead with a signal", r.dead(true), r.rest(false, 0, 1), r.sleeper(fuzz.Asleep)),
			},
		}
	})
	killCondBroadcast = condOp("cond broadcast", func(r *room) fuzz.Op {
		return fuzz.Op{
			Do: r.cond.Broadcast,
			Casts: []fuzz.Cast{
				cast("two sleepers", r.rest(true, 0, 2), r.sleeper(fuzz.Asleep), r.sleeper(fuzz.Asleep)),
				cast("sleepers inside", r.rest(true, 2, 2), r.insider(), r.insider(), r.sleeper(fuzz.Asleep), r.sleeper(fuzz.Asleep)),
			},
		}
	})
)

// until waits, as programs do, until something has been sent.
func (r *room) until() error {
	if _, err := r.enter(); err != nil {
		return err
	}
	for r.sent.Load() == 0 {
		r.in.Add(-1)
		if _, err := r.entered(r.cond.Wait(bg, &r.mu)); err != nil {
			return err
		}
	}
	return r.leave()
}

// send is the other half. All who wait before it are woken by one signal each.
func (r *room) send(signal func() error) error {
	if _, err := r.enter(); err != nil {
		return err
	}
	r.sent.Store(1)
	return errors.Join(r.leave(), signal())
}

// Nobody dies, so nobody is helped by a look around: there is none.
func pauseOp(name string, build func(r *room) fuzz.Op) *fuzz.Scenario {
	return condOp(name, func(r *room) fuzz.Op {
		futex.SetLookAround(20 * time.Second)
		return build(r)
	})
}

var (
	pauseCondWait = pauseOp("cond wait for something", func(r *room) fuzz.Op {
		// It comes when the victim stands at the point or, if it slept before
		// that, when it slept.
		senders := func(signal func() error) []fuzz.Peer {
			run := func(c *fuzz.Cue) error {
				if !r.sender.CompareAndSwap(0, 1) {
					return nil
				}
				return r.send(signal)
			}
			return []fuzz.Peer{
				{Name: "sender", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
					c.Ready()
					c.Blocked()
					return run(c)
				}},
				{Name: "late sender", When: fuzz.AtPoint, Run: run},
			}
		}
		sleeper := fuzz.Peer{Name: "sleeper", When: fuzz.Asleep, Run: func(*fuzz.Cue) error { return r.until() }}
		return fuzz.Op{
			Do: r.until,
			Casts: []fuzz.Cast{
				cast("signal", senders(r.cond.Signal)...),
				cast("broadcast, sleeper", append(senders(r.cond.Broadcast), sleeper)...),
			},
		}
	})
	pauseCondSignal = pauseOp("cond send something", func(r *room) fuzz.Op {
		party := func(name string, when fuzz.When, inside bool) fuzz.Peer {
			return fuzz.Peer{Name: name, When: when, Inside: inside, Run: func(*fuzz.Cue) error { return r.until() }}
		}
		return fuzz.Op{
			Do: func() error { return r.send(func() error { return r.cond.Notify(2) }) },
			Casts: []fuzz.Cast{
				cast("sleeper, another comes", party("sleeper", fuzz.Asleep, false), party("late", fuzz.AtPoint, false)),
				cast("two sleepers", party("sleeper", fuzz.Asleep, false), party("sleeper", fuzz.Asleep, false)),
				cast("sleeper and insider", party("insider", fuzz.Asleep, true), party("sleeper", fuzz.Asleep, false)),
			},
		}
	})
)

func TestKillPointsCondWait(t *testing.T) { killEach(t, killCondWait, killCondLook) }

func TestKillPointsCondSignal(t *testing.T) { killEach(t, killCondSignal, killCondBroadcast) }
