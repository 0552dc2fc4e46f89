package futex_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"

	"golang.org/x/sys/unix"
)

// What the kill harness kills: each scenario is one operation, and the company
// in which it is cut short. Nobody is helped by a timer: in all these processes
// a robust lock looks for a dead owner every 20 s, which is longer than any
// round may last. Only the tokens of dead owners come back by time alone, and
// here that takes 150 ms: beside somebody who computes, who is stepped through takes
// 100 from the clock to his sleep, and would never get there.

const killPage = 4096

// noTimer is when timers help, where the kernel does without; elsewhere they must.
func noTimer() time.Duration {
	if futex.TellKernel(true); futex.Told() {
		return 20 * time.Second
	}
	return lookEvery
}

const lookEvery = 150 * time.Millisecond

// attached maps a scenario's state to a T, in a region of its own.
func attached[T any](s *fuzz.Segment, page int) (*T, *futex.Region) {
	futex.SetRechecks(noTimer(), lookEvery)
	futex.SetMutexSpins(2) // a look is many points, and like the next
	mem := s.Mem[page*killPage : (page+1)*killPage]
	r, err := futex.Attach(mem, s.File)
	if err != nil {
		panic(err)
	}
	v, err := futex.At[T](mem, 0)
	if err != nil {
		panic(err)
	}
	return v, r
}

// ward is a lock with what it guards: a and b are equal, and in is 0, whenever
// the lock is free or comes with ErrOwnerDead.
type ward struct {
	mu     futex.RobustMutex
	a, b   atomic.Int64
	in     atomic.Int32 // holders
	deaths atomic.Int32 // times that ErrOwnerDead was returned
	ready  atomic.Int32 // a child has the lock
}

// got begins a section, of whoever was told err by the lock.
func (w *ward) got(err error) error {
	switch {
	case errors.Is(err, futex.ErrOwnerDead):
		w.deaths.Add(1)
		w.in.Store(0)
		w.b.Store(w.a.Load())
		if err := w.mu.MarkConsistent(); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if a, b := w.a.Load(), w.b.Load(); a != b {
		return fmt.Errorf("half a section: %d and %d", a, b)
	}
	if n := w.in.Add(1); n != 1 {
		return fmt.Errorf("%d hold the lock", n)
	}
	w.a.Add(1)
	return nil
}

// leave ends the section.
func (w *ward) leave() error {
	w.b.Add(1)
	if n := w.in.Add(-1); n != 0 {
		return fmt.Errorf("%d held the lock beside its holder", n)
	}
	return w.mu.Unlock()
}

func (w *ward) lock() error { return w.got(w.mu.Lock()) }

func (w *ward) pass() error {
	if err := w.lock(); err != nil {
		return err
	}
	return w.leave()
}

// try is pass with TryLock; while runs inside, if it came in.
func (w *ward) try(while func()) error {
	ok, err := w.mu.TryLock()
	if ok {
		err = w.got(err)
	}
	while()
	if !ok || err != nil {
		return err
	}
	return w.leave()
}

// check is the last to lock: as many deaths may have been told of as there
// were.
func (w *ward) check(died bool, others int32) error {
	if died {
		others++
	}
	if err := w.pass(); err != nil {
		return err
	}
	if n := w.deaths.Load(); n > others {
		return fmt.Errorf("ErrOwnerDead %d times after %d deaths", n, others)
	}
	return nil
}

// The peers of a ward's victim.

func (w *ward) sleeper(when fuzz.When) fuzz.Peer {
	return fuzz.Peer{Name: "sleeper", When: when, Run: func(*fuzz.Cue) error { return w.pass() }}
}

func (w *ward) insider() fuzz.Peer {
	p := w.sleeper(fuzz.Asleep)
	p.Name, p.Inside = "insider", true
	return p
}

func (w *ward) barger() fuzz.Peer {
	return fuzz.Peer{Name: "barger", When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
		return w.try(func() { c.Ready(); c.Over() })
	}}
}

// holder has the lock until the victim sleeps.
func (w *ward) holder() fuzz.Peer {
	return fuzz.Peer{Name: "holder", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		if err := w.lock(); err != nil {
			return err
		}
		c.Ready()
		c.Blocked()
		return w.leave()
	}}
}

// dead is a holder that is no more.
func (w *ward) dead() fuzz.Peer {
	return fuzz.Peer{Name: "dead holder", When: fuzz.Early, Dies: true, Run: func(c *fuzz.Cue) error {
		if err := w.lock(); err != nil {
			return err
		}
		c.Ready()
		select {}
	}}
}

// dying has the lock, in a child of its own, until the victim sleeps.
func (w *ward) dying(s *fuzz.Segment) fuzz.Peer {
	return fuzz.Peer{Name: "dying holder", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		w.ready.Store(0)
		p, err := killHolder.Start(context.Background(), s.File)
		if err != nil {
			return err
		}
		for w.ready.Load() == 0 && p.Alive() {
			time.Sleep(100 * time.Microsecond)
		}
		c.Ready()
		c.Blocked()
		err = p.Kill()
		p.Wait(context.Background())
		return err
	}}
}

var killHolder = proc.Register("killHolder", func(ctx context.Context, f *os.File) error {
	mem, err := unix.Mmap(int(f.Fd()), 0, killPage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	w, _ := attached[ward](&fuzz.Segment{Mem: mem, File: f}, 0)
	if err := w.lock(); err != nil {
		return err
	}
	w.ready.Store(1)
	select {}
})

func cast(name string, peers ...fuzz.Peer) fuzz.Cast { return fuzz.Cast{Name: name, Peers: peers} }

// lockOp registers an operation on a ward's lock. others is the number of
// holders that die beside the victim.
func lockOp(name string, others int32, build func(w *ward, s *fuzz.Segment) fuzz.Op) *fuzz.Scenario {
	return fuzz.RegisterOp("futex/"+name, killPage, func(s *fuzz.Segment) fuzz.Op {
		w, r := attached[ward](s, 0)
		op := build(w, s)
		if op.Do == nil {
			op.Do = w.pass
		}
		op.Check = func(died bool) error { return w.check(died, others) }
		op.Close = r.Detach
		return op
	})
}

var (
	killLockFree = lockOp("lock free", 0, func(w *ward, s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{Casts: []fuzz.Cast{
			cast("nobody"),
			cast("rival", w.sleeper(fuzz.AtPoint)),
			cast("rival and barger", w.sleeper(fuzz.AtPoint), w.barger()),
		}}
	})
	killLockWoken = lockOp("lock woken", 0, func(w *ward, s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{Casts: []fuzz.Cast{
			cast("nobody", w.holder()),
			cast("sleeper", w.holder(), w.sleeper(fuzz.Behind)),
			cast("sleeper and barger", w.holder(), w.sleeper(fuzz.Behind), w.barger()),
			cast("sleepers inside", w.holder(), w.insider(), w.insider(), w.sleeper(fuzz.Asleep)),
		}}
	})
	killLockDead = lockOp("lock of the dead", 1, func(w *ward, s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{Casts: []fuzz.Cast{
			cast("nobody", w.dead()),
			cast("rival", w.dead(), w.sleeper(fuzz.AtPoint)),
			cast("rival and barger", w.dead(), w.sleeper(fuzz.AtPoint), w.barger()),
		}}
	})
	killLockDying = lockOp("lock of the dying", 1, func(w *ward, s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{Casts: []fuzz.Cast{
			cast("nobody", w.dying(s)),
			cast("sleeper", w.dying(s), w.sleeper(fuzz.Behind)),
			cast("sleeper and barger", w.dying(s), w.sleeper(fuzz.Behind), w.barger()),
			cast("sleepers inside", w.dying(s), w.insider(), w.insider(), w.sleeper(fuzz.Asleep)),
		}}
	})
	killUnlock = lockOp("unlock", 0, func(w *ward, s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{
			Prepare: w.lock,
			Do:      w.leave,
			Casts: []fuzz.Cast{
				cast("nobody"),
				cast("sleeper", w.sleeper(fuzz.Asleep)),
				cast("sleeper and barger", w.sleeper(fuzz.Asleep), w.barger()),
				cast("sleepers inside", w.insider(), w.insider(), w.sleeper(fuzz.Asleep)),
			},
		}
	})
	killTryLock = lockOp("trylock", 1, func(w *ward, s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{
			Do: func() error { return w.try(func() {}) },
			Casts: []fuzz.Cast{
				cast("nobody"),
				cast("holder and sleeper", w.holder(), w.sleeper(fuzz.Asleep)),
				cast("dead holder", w.dead()),
				cast("dead holder, rival", w.dead(), w.sleeper(fuzz.AtPoint)),
				cast("dead holder, rival and barger", w.dead(), w.sleeper(fuzz.AtPoint), w.barger()),
			},
		}
	})
)

// Broken locks, of which a test says that they are found.
var (
	killUnnamed = lockOp("mutant: no name while asleep", 0, func(w *ward, s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{
			Do: func() error {
				if err := w.got(w.mu.LockUnnamed()); err != nil {
					return err
				}
				return w.leave()
			},
			Casts: []fuzz.Cast{cast("sleeper", w.holder(), w.sleeper(fuzz.Behind))},
		}
	})
	killTwoSteps = lockOp("mutant: store, then wake", 0, func(w *ward, s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{
			Prepare: w.lock,
			Do: func() error {
				w.b.Add(1)
				w.in.Add(-1)
				return w.mu.UnlockTwoSteps()
			},
			Casts: []fuzz.Cast{
				cast("sleeper", w.sleeper(fuzz.Asleep)),
				cast("sleeper and barger", w.sleeper(fuzz.Asleep), w.barger()),
			},
		}
	})
)

// A process holds a lock of one region while it attaches or detaches another,
// whose lock is on the same list. It dies, and both locks must come free.
var (
	killAttach = regionOp("attach", func(w *ward, s *fuzz.Segment) (prepare, do func() error) {
		return w.lock, func() error {
			r, err := futex.Attach(s.Mem[killPage:], s.File)
			if err != nil {
				return err
			}
			second, err := futex.At[ward](s.Mem, killPage)
			if err != nil {
				return err
			}
			return errors.Join(second.pass(), r.Detach(), w.leave())
		}
	})
	killDetach = regionOp("detach", func(w *ward, s *fuzz.Segment) (prepare, do func() error) {
		var r *futex.Region
		return func() error {
				var second *ward
				second, r = attached[ward](s, 1)
				return errors.Join(w.lock(), second.pass())
			}, func() error {
				return errors.Join(r.Detach(), w.leave())
			}
	})
)

func regionOp(name string, build func(w *ward, s *fuzz.Segment) (prepare, do func() error)) *fuzz.Scenario {
	return fuzz.RegisterOp("futex/"+name, 2*killPage, func(s *fuzz.Segment) fuzz.Op {
		w, r := attached[ward](s, 0)
		prepare, do := build(w, s)
		return fuzz.Op{
			Prepare: prepare,
			Do:      do,
			Check: func(died bool) error {
				second, r := attached[ward](s, 1)
				return errors.Join(w.check(died, 0), second.check(died, 0), r.Detach())
			},
			Close: r.Detach,
			Casts: []fuzz.Cast{
				cast("nobody"),
				cast("sleeper", w.sleeper(fuzz.Asleep)),
				cast("sleeper and barger", w.sleeper(fuzz.Asleep), w.barger()),
				cast("sleepers inside", w.insider(), w.insider(), w.sleeper(fuzz.Asleep)),
			},
		}
	})
}
