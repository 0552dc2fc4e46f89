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

// lobby is a barrier of the parties that a scenario says.
type lobby struct {
	barrier futex.Barrier
	made    atomic.Int32 // a, b: what a Once makes
	whole   atomic.Int32
	runs    atomic.Int32
	once    futex.Once
}

// wait may meet a barrier that the heir has broken.
func (l *lobby) wait() error {
	_, err := l.barrier.Wait(bg)
	if errors.Is(err, futex.ErrBroken) {
		return nil
	}
	return err
}

func (l *lobby) party(when fuzz.When) fuzz.Peer {
	return fuzz.Peer{Name: "party", When: when, Run: func(*fuzz.Cue) error { return l.wait() }}
}

func (l *lobby) insider() fuzz.Peer {
	p := l.party(fuzz.Asleep)
	p.Name, p.Inside = "insider", true
	return p
}

// breaker breaks the barrier for those who wait in vain: the round isn't over.
// Who waits for a round that is over is not helped by it: there is nobody there.
func (l *lobby) breaker() fuzz.Peer {
	return fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		c.Ready()
		c.Over()
		if l.barrier.Waiting() > 0 && !l.barrier.IsBroken() {
			l.barrier.Break()
		}
		return nil
	}}
}

func barrierOp(name string, parties int, build func(l *lobby) fuzz.Op) *fuzz.Scenario {
	return fuzz.RegisterOp("futex/"+name, 4096, func(s *fuzz.Segment) fuzz.Op {
		l, region := placed[lobby](s)
		op := build(l)
		op.Init = func() error { return l.barrier.Init(parties) }
		op.Close = region.Detach
		op.Check = func(bool) error {
			l.barrier.Reset()
			if l.barrier.Waiting() != 0 || l.barrier.IsBroken() {
				return errors.New("Reset leaves something behind")
			}
			all := make(chan error)
			for range parties {
				go func() { _, err := l.barrier.Wait(bg); all <- err }()
			}
			var err error
			for range parties {
				err = errors.Join(err, <-all)
			}
			return err
		}
		return op
	})
}

func lastParty(l *lobby) fuzz.Op {
	return fuzz.Op{
		Do: l.wait,
		Casts: []fuzz.Cast{
			cast("two sleepers", l.breaker(), l.party(fuzz.Asleep), l.party(fuzz.Asleep)),
			cast("next round", l.breaker(), l.party(fuzz.Asleep), l.party(fuzz.Asleep), l.party(fuzz.AtPoint), l.party(fuzz.AtPoint)),
			cast("one inside", l.breaker(), l.insider(), l.party(fuzz.Asleep)),
		},
	}
}

// second comes when the victim sleeps, or is no more: then in vain if it had not
// arrived.
func (l *lobby) second() fuzz.Peer {
	return fuzz.Peer{Name: "second", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		c.Ready()
		c.Blocked()
		done := make(chan error)
		go func() { done <- l.wait() }()
		c.Over()
		for {
			select {
			case err := <-done:
				return err
			case <-time.After(5 * time.Millisecond):
				if l.barrier.Waiting() > 0 {
					l.barrier.Break()
				}
			}
		}
	}}
}

var (
	killFirst = barrierOp("barrier first", 2, func(l *lobby) fuzz.Op {
		return fuzz.Op{
			Do: l.wait,
			Casts: []fuzz.Cast{
				cast("second", l.second()),
				cast("third inside", l.second(), l.insider()),
			},
		}
	})
	killLast = barrierOp("barrier last", 3, lastParty)
	killAct  = barrierOp("barrier action", 2, func(l *lobby) fuzz.Op {
		return fuzz.Op{
			Do: func() error {
				_, err := l.barrier.WaitFunc(bg, func() error { return nil })
				if errors.Is(err, futex.ErrBroken) {
					return nil
				}
				return err
			},
			Casts: []fuzz.Cast{cast("sleeper", l.breaker(), l.party(fuzz.Asleep))},
		}
	})
	killBreak = barrierOp("barrier break", 3, func(l *lobby) fuzz.Op {
		return fuzz.Op{
			Do:    func() error { l.barrier.Break(); return nil },
			Casts: []fuzz.Cast{cast("two sleepers", l.breaker(), l.party(fuzz.Asleep), l.party(fuzz.Asleep))},
		}
	})
	killReset = barrierOp("barrier reset", 3, func(l *lobby) fuzz.Op {
		return fuzz.Op{
			Do: func() error { l.barrier.Reset(); return nil },
			Casts: []fuzz.Cast{
				cast("two sleepers", l.breaker(), l.party(fuzz.Asleep), l.party(fuzz.Asleep)),
				cast("next round", l.breaker(), l.party(fuzz.Asleep), l.party(fuzz.Asleep), l.party(fuzz.AtPoint)),
			},
		}
	})

	// A party stands anywhere in Wait while the barrier is broken and reset, and
	// another one comes. It must see that, or the two wait for each other.
	pauseWait = barrierOp("barrier wait", 2, func(l *lobby) fuzz.Op {
		again := func() error {
			for {
				if _, err := l.barrier.Wait(bg); !errors.Is(err, futex.ErrBroken) {
					return err
				}
			}
		}
		// The other one comes when the victim stands at the point, or, if it has
		// slept before that, came then.
		early := fuzz.Peer{Name: "other", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
			c.Ready()
			c.Blocked()
			if !l.made.CompareAndSwap(0, 1) {
				return nil
			}
			return again()
		}}
		late := func(f func(*futex.Barrier)) fuzz.Peer {
			return fuzz.Peer{Name: "late other", When: fuzz.AtPoint, Run: func(*fuzz.Cue) error {
				if !l.made.CompareAndSwap(0, 1) {
					return nil
				}
				f(&l.barrier)
				return again()
			}}
		}
		return fuzz.Op{
			Do: again,
			Casts: []fuzz.Cast{
				cast("other", early, late(func(*futex.Barrier) {})),
				cast("break, reset, other", early, late(func(b *futex.Barrier) { b.Break(); b.Reset() })),
				cast("twice, other", early, late(func(b *futex.Barrier) { b.Break(); b.Reset(); b.Break(); b.Reset() })),
			},
		}
	})
)

func TestKillPointsBarrier(t *testing.T) {
	killEach(t, killFirst, killLast, killAct, killBreak, killReset)
}

func TestPausePointsBarrier(t *testing.T) {
	plainBuild(t)
	fuzz.PauseEach(t, pauseWait, tight())
}

var killOnce = fuzz.RegisterOp("futex/once", 4096, func(s *fuzz.Segment) fuzz.Op {
	l, region := placed[lobby](s)
	do := func() error {
		err := l.once.Do(bg, func() error {
			l.runs.Add(1)
			l.made.Store(1)
			l.whole.Store(1)
			return nil
		})
		if err == nil && (l.made.Load() != 1 || l.whole.Load() != 1) {
			err = errors.New("done by half")
		}
		return err
	}
	rival := fuzz.Peer{Name: "rival", When: fuzz.AtPoint, Run: func(*fuzz.Cue) error { return do() }}
	return fuzz.Op{
		Do: do,
		Check: func(died bool) error {
			if err := do(); err != nil {
				return err
			}
			if n := l.runs.Load(); n > 2 || n > 1 && !died {
				return fmt.Errorf("it ran %d times", n)
			}
			return nil
		},
		Close: region.Detach,
		Casts: []fuzz.Cast{
			cast("nobody"),
			cast("rival", rival),
			cast("two rivals", rival, rival),
		},
	}
})

func TestKillPointsOnce(t *testing.T) { killEach(t, killOnce) }
