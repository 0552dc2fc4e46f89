package futex_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
)

// tokens is a semaphore with one token in all, or none yet.
type tokens struct {
	sem    futex.Semaphore
	passed atomic.Int32 // sleepers outside that have had a token and given it back
	lost   atomic.Int32 // tokens that went with the dead, and were replaced
}

func (k *tokens) pass() error {
	if err := k.sem.Acquire(bg); err != nil {
		return err
	}
	return k.sem.Release()
}

func (k *tokens) passOwned() error {
	if err := k.sem.AcquireOwned(bg); err != nil {
		return err
	}
	return k.sem.ReleaseOwned()
}

func (k *tokens) sleeper(when fuzz.When, pass func() error) fuzz.Peer {
	return fuzz.Peer{Name: "sleeper", When: when, Run: func(*fuzz.Cue) error {
		err := pass()
		k.passed.Add(1)
		return err
	}}
}

func (k *tokens) insider(pass func() error) fuzz.Peer {
	return fuzz.Peer{Name: "insider", When: fuzz.Asleep, Inside: true,
		Run: func(*fuzz.Cue) error { return pass() }}
}

func (k *tokens) barger() fuzz.Peer {
	return fuzz.Peer{Name: "barger", When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
		ok := k.sem.TryAcquire()
		c.Ready()
		c.Over()
		if ok {
			return k.sem.Release()
		}
		return nil
	}}
}

// heir gives a token when the victim sleeps, if it is to, and replaces the one
// that the dead had, and only that: where there is a token, the sleeper must
// come by it alone.
func (k *tokens) heir(gives bool) fuzz.Peer {
	return fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		c.Ready()
		if gives {
			c.Blocked()
			if err := k.sem.Release(); err != nil {
				return err
			}
		}
		c.Over()
		for range 60 {
			if k.sem.Value() > 0 || k.passed.Load() > 0 {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
		k.lost.Add(1)
		return k.sem.Release()
	}}
}

func (k *tokens) check(died bool) error {
	n, lost := k.sem.Value(), int(k.lost.Load())
	switch {
	case !died && (n != 1 || lost != 0), n > 1+lost:
		return fmt.Errorf("%d tokens, of 1 and %d lost ones", n, lost)
	case n == 0 && k.passed.Load() == 0:
		return errors.New("no token, and nobody had it")
	}
	return nil
}

func semOp(name string, have int, build func(k *tokens) fuzz.Op) *fuzz.Scenario {
	return fuzz.RegisterOp("futex/"+name, killPage, func(s *fuzz.Segment) fuzz.Op {
		k, r := attached[tokens](s, 0)
		op := build(k)
		op.Init = func() error { return k.sem.Init(have, 0) }
		op.Close = r.Detach
		if op.Do == nil {
			op.Do = k.pass
		}
		if op.Check == nil {
			op.Check = k.check
		}
		return op
	})
}

var (
	killAcquireFree = semOp("acquire free", 1, func(k *tokens) fuzz.Op {
		return fuzz.Op{Casts: []fuzz.Cast{
			cast("nobody", k.heir(false)),
			cast("rival", k.heir(false), k.sleeper(fuzz.AtPoint, k.pass)),
			cast("rival and barger", k.heir(false), k.sleeper(fuzz.AtPoint, k.pass), k.barger()),
		}}
	})
	killAcquireWoken = semOp("acquire woken", 0, acquireWoken)
	killRelease      = semOp("release", 0, release)
)

func acquireWoken(k *tokens) fuzz.Op {
	return fuzz.Op{Casts: []fuzz.Cast{
		cast("nobody", k.heir(true)),
		cast("sleeper", k.heir(true), k.sleeper(fuzz.Behind, k.pass)),
		cast("sleeper and barger", k.heir(true), k.sleeper(fuzz.Behind, k.pass), k.barger()),
		cast("sleepers inside", k.heir(true), k.insider(k.pass), k.insider(k.pass), k.sleeper(fuzz.Asleep, k.pass)),
	}}
}

func release(k *tokens) fuzz.Op {
	return fuzz.Op{
		Do: k.sem.Release,
		Casts: []fuzz.Cast{
			cast("nobody", k.heir(false)),
			cast("sleeper", k.heir(false), k.sleeper(fuzz.Asleep, k.pass)),
			cast("sleeper and barger", k.heir(false), k.sleeper(fuzz.Asleep, k.pass), k.barger()),
			cast("sleepers inside", k.heir(false), k.insider(k.pass), k.insider(k.pass), k.sleeper(fuzz.Asleep, k.pass)),
		},
	}
}

// Owned tokens are never lost: nobody replaces any, and in the end there is one.
var (
	killAcquireOwned = semOp("acquire owned", 1, func(k *tokens) fuzz.Op {
		return fuzz.Op{
			Do: k.passOwned, Check: k.checkOwned,
			Casts: []fuzz.Cast{
				cast("nobody"),
				cast("rival", k.sleeper(fuzz.AtPoint, k.passOwned)),
				cast("plain rival", k.sleeper(fuzz.AtPoint, k.pass)),
				cast("rival and barger", k.sleeper(fuzz.AtPoint, k.passOwned), k.barger()),
			},
		}
	})
	killAcquireOwnedWoken = semOp("acquire owned woken", 1, func(k *tokens) fuzz.Op {
		return fuzz.Op{
			Do: k.passOwned, Check: k.checkOwned,
			Casts: []fuzz.Cast{
				cast("nobody", k.ownedHolder()),
				cast("sleeper", k.ownedHolder(), k.sleeper(fuzz.Behind, k.passOwned)),
				cast("sleeper and barger", k.ownedHolder(), k.sleeper(fuzz.Behind, k.passOwned), k.barger()),
				cast("sleepers inside", k.ownedHolder(), k.insider(k.passOwned), k.insider(k.passOwned), k.sleeper(fuzz.Asleep, k.passOwned)),
			},
		}
	})
	killReleaseOwned = semOp("release owned", 1, func(k *tokens) fuzz.Op {
		return fuzz.Op{
			Prepare: func() error { return k.sem.AcquireOwned(bg) },
			Do:      k.sem.ReleaseOwned, Check: k.checkOwned,
			Casts: []fuzz.Cast{
				cast("nobody"),
				cast("sleeper", k.sleeper(fuzz.Asleep, k.passOwned)),
				cast("plain sleeper", k.sleeper(fuzz.Asleep, k.pass)),
				cast("sleeper and barger", k.sleeper(fuzz.Asleep, k.passOwned), k.barger()),
				cast("sleepers inside", k.insider(k.passOwned), k.insider(k.passOwned), k.sleeper(fuzz.Asleep, k.passOwned)),
			},
		}
	})
)

// ownedHolder has the token until the victim sleeps.
func (k *tokens) ownedHolder() fuzz.Peer {
	return fuzz.Peer{Name: "holder", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		if err := k.sem.AcquireOwned(bg); err != nil {
			return err
		}
		c.Ready()
		c.Blocked()
		return k.sem.ReleaseOwned()
	}}
}

func (k *tokens) checkOwned(bool) error {
	if err := k.passOwned(); err != nil {
		return err
	}
	if n := k.sem.Value(); n != 1 {
		return fmt.Errorf("%d tokens, want 1", n)
	}
	return nil
}

// signal is an event that is set once, by the victim or, if it died too early,
// by its heir.
type signal struct {
	event  futex.Event
	wasSet atomic.Int32
}

func (e *signal) sleeper(when fuzz.When) fuzz.Peer {
	return fuzz.Peer{Name: "sleeper", When: when, Run: func(*fuzz.Cue) error { return e.event.Wait(bg) }}
}

func (e *signal) insider() fuzz.Peer {
	p := e.sleeper(fuzz.Asleep)
	p.Name, p.Inside = "insider", true
	return p
}

// resetter takes back what was set: who waited then has to wake all the same.
func (e *signal) resetter() fuzz.Peer {
	return fuzz.Peer{Name: "resetter", When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
		if e.event.IsSet() {
			e.wasSet.Store(1)
			e.event.Reset()
		}
		c.Ready()
		return nil
	}}
}

// heir sets the event when the victim sleeps, if it is to, or else if the
// victim is gone and has not.
func (e *signal) heir(sets bool) fuzz.Peer {
	return fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		c.Ready()
		if sets {
			c.Blocked()
		} else {
			c.Over()
		}
		if sets || !e.event.IsSet() && e.wasSet.Load() == 0 {
			e.event.Set()
		}
		return nil
	}}
}

func eventOp(name string, build func(e *signal) fuzz.Op) *fuzz.Scenario {
	return fuzz.RegisterOp("futex/"+name, killPage, func(s *fuzz.Segment) fuzz.Op {
		e, r := attached[signal](s, 0)
		op := build(e)
		op.Close = r.Detach
		op.Check = func(bool) error {
			if !e.event.IsSet() && e.wasSet.Load() == 0 {
				return errors.New("the event was never set")
			}
			return nil
		}
		return op
	})
}

var (
	killSet = eventOp("set", func(e *signal) fuzz.Op {
		two := []fuzz.Peer{e.heir(false), e.sleeper(fuzz.Asleep), e.sleeper(fuzz.Asleep)}
		return fuzz.Op{
			Do: func() error { e.event.Set(); return nil },
			Casts: []fuzz.Cast{
				cast("nobody", e.heir(false)),
				cast("two sleepers", two...),
				cast("two sleepers and resetter", append(two, e.resetter())...),
				cast("sleepers inside", append(two, e.insider(), e.insider())...),
				cast("sleepers behind insiders", e.heir(false), e.insider(), e.insider(), e.sleeper(fuzz.Asleep), e.sleeper(fuzz.Asleep)),
			},
		}
	})
	killWait = eventOp("wait woken", func(e *signal) fuzz.Op {
		return fuzz.Op{
			Do: func() error { return e.event.Wait(bg) },
			Casts: []fuzz.Cast{
				cast("nobody", e.heir(true)),
				cast("two sleepers", e.heir(true), e.sleeper(fuzz.Asleep), e.sleeper(fuzz.Behind)),
				cast("sleepers and resetter", e.heir(true), e.sleeper(fuzz.Asleep), e.sleeper(fuzz.Behind), e.resetter()),
				cast("sleepers inside", e.heir(true), e.insider(), e.insider(), e.sleeper(fuzz.Asleep)),
			},
		}
	})
)

// The publisher dies, and who watches sees it; it withdraws where it lives.
var killPublish = fuzz.RegisterOp("futex/publish", killPage, func(s *fuzz.Segment) fuzz.Op {
	type published struct{ life futex.Liveness }
	p, r := attached[published](s, 0)
	watcher := fuzz.Peer{Name: "watcher", When: fuzz.AtPoint, Run: func(*fuzz.Cue) error {
		_, err := futex.WaitAny(bg, p.life.Word())
		if err != nil {
			return err
		}
		_, err = futex.Wake(p.life.Word().Addr, futex.All)
		return err
	}}
	return fuzz.Op{
		Do: func() error { return errors.Join(p.life.Publish(), p.life.Withdraw()) },
		Check: func(bool) error {
			if p.life.Alive() {
				return errors.New("alive, and it isn't")
			}
			return nil
		},
		Close: r.Detach,
		Casts: []fuzz.Cast{
			cast("nobody"),
			cast("watcher", watcher),
			cast("two watchers", watcher, watcher),
		},
	}
})

var _ = context.Background

var killSetLate = eventOp("mutant: wake, then set", func(e *signal) fuzz.Op {
	return fuzz.Op{
		Do:    func() error { e.event.SetLate(); return nil },
		Casts: []fuzz.Cast{cast("two sleepers", e.heir(false), e.sleeper(fuzz.Asleep), e.sleeper(fuzz.Asleep))},
	}
})
