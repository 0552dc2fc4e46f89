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

// What the kill harness kills of RWMutex and RecursiveMutex. Who waits for a
// process that died looks around after 250 ms; here that takes 20 s, which is
// longer than any round may last, and an heir does it instead, for those only
// who wait for the dead. So no time helps one whose wake was lost.

// rwWard is a lock with what it guards: a and b are equal, whenever no writer is
// inside or the lock comes without ErrOwnerDead.
type rwWard struct {
	mu      futex.RWMutex
	a, b    atomic.Int64
	writers atomic.Int32
	deaths  atomic.Int32 // times that a writer was told ErrOwnerDead, and repaired
}

func (w *rwWard) gotWrite(err error) error {
	switch {
	case errors.Is(err, futex.ErrOwnerDead):
		w.deaths.Add(1)
		w.writers.Store(0)
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
	if n := w.writers.Add(1); n != 1 {
		return fmt.Errorf("%d writers are inside", n)
	}
	w.a.Add(1)
	return nil
}

func (w *rwWard) leaveWrite() error {
	w.b.Add(1)
	if n := w.writers.Add(-1); n != 0 {
		return fmt.Errorf("%d writers were inside beside one", n)
	}
	return w.mu.Unlock()
}

func (w *rwWard) lock() error { return w.gotWrite(w.mu.Lock()) }

func (w *rwWard) write() error {
	if err := w.lock(); err != nil {
		return err
	}
	return w.leaveWrite()
}

// read is a section of a reader who got err from the lock, and what it sees does
// not change while it is in.
func (w *rwWard) read(err error, while func()) error {
	dead := errors.Is(err, futex.ErrOwnerDead)
	if err != nil && !dead {
		return err
	}
	a, b := w.a.Load(), w.b.Load()
	while()
	if a2, b2 := w.a.Load(), w.b.Load(); a2 != a || b2 != b || !dead && a != b {
		return fmt.Errorf("a reader saw %d and %d, then %d and %d", a, b, a2, b2)
	}
	return w.mu.RUnlock()
}

func (w *rwWard) pass() error { return w.read(w.mu.RLock(), func() {}) }

// takeSlot spares the victim the search.
func (w *rwWard) takeSlot() error {
	_, err := w.mu.Slot()
	return err
}

func (w *rwWard) check(died bool, others int32) error {
	if died {
		others++
	}
	if err := errors.Join(w.write(), w.pass()); err != nil {
		return err
	}
	if n := w.deaths.Load(); n > others {
		return fmt.Errorf("ErrOwnerDead %d times after %d deaths", n, others)
	}
	if n := w.mu.Readers(); n != 0 {
		return fmt.Errorf("%d readers are left", n)
	}
	return nil
}

func rwPeer(name string, when fuzz.When, inside bool, f func() error) fuzz.Peer {
	return fuzz.Peer{Name: name, When: when, Inside: inside, Run: func(*fuzz.Cue) error { return f() }}
}

func (w *rwWard) reader(when fuzz.When) fuzz.Peer { return rwPeer("reader", when, false, w.pass) }
func (w *rwWard) writer(when fuzz.When) fuzz.Peer { return rwPeer("writer", when, false, w.write) }
func (w *rwWard) insideReader() fuzz.Peer         { return rwPeer("reader inside", fuzz.Asleep, true, w.pass) }
func (w *rwWard) insideWriter() fuzz.Peer         { return rwPeer("writer inside", fuzz.Asleep, true, w.write) }

// readBarger and writeBarger come by at the point.
func (w *rwWard) readBarger() fuzz.Peer {
	return fuzz.Peer{Name: "read barger", When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
		ok, err := w.mu.TryRLock()
		if !ok {
			c.Ready()
			return err
		}
		return w.read(err, func() { c.Ready(); c.Over() })
	}}
}

func (w *rwWard) writeBarger() fuzz.Peer {
	return fuzz.Peer{Name: "write barger", When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
		ok, err := w.mu.TryLock()
		if ok {
			err = w.gotWrite(err)
		}
		c.Ready()
		c.Over()
		if !ok || err != nil {
			return err
		}
		return w.leaveWrite()
	}}
}

// holder has the lock until the victim sleeps.
func (w *rwWard) holder(writes bool) fuzz.Peer {
	return fuzz.Peer{Name: "holder", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		if !writes {
			return w.read(w.mu.RLock(), func() { c.Ready(); c.Blocked() })
		}
		if err := w.lock(); err != nil {
			return err
		}
		c.Ready()
		c.Blocked()
		return w.leaveWrite()
	}}
}

// dead is a holder that is no more.
func (w *rwWard) dead(writes bool) fuzz.Peer {
	return fuzz.Peer{Name: "dead holder", When: fuzz.Early, Dies: true, Run: func(c *fuzz.Cue) error {
		lock := w.mu.RLock
		if writes {
			lock = w.lock
		}
		if err := lock(); err != nil {
			return err
		}
		c.Ready()
		select {}
	}}
}

// heir looks around for those who wait for the dead.
func (w *rwWard) heir() fuzz.Peer {
	return fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		c.Ready()
		c.Over()
		for quiet := 0; quiet < 8; quiet++ { // a wake may come too early for who is about to sleep
			if w.mu.LookAround() {
				quiet = 0
			}
			time.Sleep(500 * time.Microsecond)
		}
		return nil
	}}
}

// rwOp registers an operation. others is the number of writers that die beside
// the victim.
func rwOp(name string, others int32, build func(w *rwWard) fuzz.Op) *fuzz.Scenario {
	const size = 2 * 4096
	return fuzz.RegisterOp("futex/"+name, size, func(s *fuzz.Segment) fuzz.Op {
		w, r := rwAttached[rwWard](s)
		op := build(w)
		for i := range op.Casts {
			op.Casts[i].Peers = append(op.Casts[i].Peers, w.heir())
		}
		op.Check = func(died bool) error { return w.check(died, others) }
		op.Close = r.Detach
		return op
	})
}

func rwAttached[T any](s *fuzz.Segment) (*T, *futex.Region) {
	futex.SetLookAround(noTimer())
	futex.SetRechecks(noTimer(), 10*time.Millisecond)
	futex.SetMutexSpins(2) // each look is many points, and like the last
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

var (
	killRLockFirst = rwOp("first rlock", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{Do: w.pass, Casts: []fuzz.Cast{
			cast("nobody"),
			cast("dead reader", w.dead(false), w.writer(fuzz.AtPoint)),
		}}
	})
	killRLockFree = rwOp("rlock free", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{Prepare: w.takeSlot, Do: w.pass, Casts: []fuzz.Cast{
			cast("nobody"),
			cast("writer", w.writer(fuzz.AtPoint)),
			cast("writer and bargers", w.writer(fuzz.AtPoint), w.readBarger(), w.writeBarger()),
		}}
	})
	killRLockBehind = rwOp("rlock behind a writer", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{Prepare: w.takeSlot, Do: w.pass, Casts: []fuzz.Cast{
			cast("nobody", w.holder(true)),
			cast("reader", w.holder(true), w.reader(fuzz.Behind)),
			cast("writer and reader", w.holder(true), w.writer(fuzz.Behind), w.reader(fuzz.Behind)),
			cast("reader and bargers", w.holder(true), w.reader(fuzz.Behind), w.readBarger(), w.writeBarger()),
			cast("readers inside", w.holder(true), w.insideReader(), w.insideReader(), w.reader(fuzz.Asleep)),
		}}
	})
	killRLockDead = rwOp("rlock of the dead", 1, func(w *rwWard) fuzz.Op {
		return fuzz.Op{Prepare: w.takeSlot, Do: w.pass, Casts: []fuzz.Cast{
			cast("nobody", w.dead(true)),
			cast("reader", w.dead(true), w.reader(fuzz.AtPoint)),
			cast("writer and barger", w.dead(true), w.writer(fuzz.AtPoint), w.readBarger()),
		}}
	})
	killRUnlock = rwOp("runlock", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{
			Prepare: w.mu.RLock,
			Do:      w.mu.RUnlock,
			Casts: []fuzz.Cast{
				cast("nobody"),
				cast("writer", w.writer(fuzz.Asleep)),
				cast("writer and bargers", w.writer(fuzz.Asleep), w.readBarger(), w.writeBarger()),
				cast("writer and reader", w.writer(fuzz.Asleep), w.reader(fuzz.Asleep)),
				cast("inside", w.insideWriter(), w.insideReader(), w.writer(fuzz.Asleep)),
			},
		}
	})
	killWLockFree = rwOp("wlock free", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{Do: w.write, Casts: []fuzz.Cast{
			cast("nobody"),
			cast("reader", w.reader(fuzz.AtPoint)),
			cast("writer", w.writer(fuzz.AtPoint)),
			cast("writer and bargers", w.writer(fuzz.AtPoint), w.readBarger(), w.writeBarger()),
		}}
	})
	killWLockDrain = rwOp("wlock behind readers", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{Do: w.write, Casts: []fuzz.Cast{
			cast("nobody", w.holder(false)),
			cast("two readers", w.holder(false), w.holder(false)),
			cast("reader", w.holder(false), w.reader(fuzz.Behind)),
			cast("writer and reader", w.holder(false), w.writer(fuzz.Behind), w.reader(fuzz.Behind)),
			cast("dead reader", w.holder(false), w.dead(false), w.reader(fuzz.Behind)),
			cast("bargers", w.holder(false), w.reader(fuzz.Behind), w.readBarger(), w.writeBarger()),
		}}
	})
	killWLockDead = rwOp("wlock of the dead", 1, func(w *rwWard) fuzz.Op {
		return fuzz.Op{Do: w.write, Casts: []fuzz.Cast{
			cast("nobody", w.dead(true)),
			cast("reader", w.dead(true), w.reader(fuzz.AtPoint)),
			cast("writer and bargers", w.dead(true), w.writer(fuzz.AtPoint), w.readBarger(), w.writeBarger()),
		}}
	})
	killWUnlock = rwOp("wunlock", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{
			Prepare: w.lock,
			Do:      w.leaveWrite,
			Casts: []fuzz.Cast{
				cast("nobody"),
				cast("readers", w.reader(fuzz.Asleep), w.reader(fuzz.Asleep)),
				cast("readers and writer", w.reader(fuzz.Asleep), w.reader(fuzz.Asleep), w.writer(fuzz.Asleep)),
				cast("readers and bargers", w.reader(fuzz.Asleep), w.writer(fuzz.Asleep), w.readBarger(), w.writeBarger()),
				cast("inside", w.insideReader(), w.insideWriter(), w.reader(fuzz.Asleep)),
			},
		}
	})

	// Broken ones, of which a test says that they are found.
	killRUnlockUnnamed = rwOp("mutant: runlock, then wake", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{
			Prepare: w.mu.RLock,
			Do:      w.mu.RUnlockUnnamed,
			Casts:   []fuzz.Cast{cast("writer", w.writer(fuzz.Asleep))},
		}
	})
	killWUnlockUnnamed = rwOp("mutant: open, then wake", 0, func(w *rwWard) fuzz.Op {
		return fuzz.Op{
			Prepare: w.lock,
			Do: func() error {
				w.b.Add(1)
				w.writers.Add(-1)
				return w.mu.UnlockUnnamed()
			},
			Casts: []fuzz.Cast{cast("readers", w.reader(fuzz.Asleep), w.reader(fuzz.Asleep))},
		}
	})
)

// recWard is a RecursiveMutex and a count that is even when it is free.
type recWard struct {
	mu     futex.RecursiveMutex
	a, b   atomic.Int64
	deaths atomic.Int32
}

func (w *recWard) lock(o *futex.Owner) error {
	switch err := w.mu.Lock(o); {
	case errors.Is(err, futex.ErrOwnerDead):
		w.deaths.Add(1)
		w.b.Store(w.a.Load())
		if err := w.mu.MarkConsistent(o); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if a, b := w.a.Load(), w.b.Load(); a != b {
		return fmt.Errorf("half a section: %d and %d", a, b)
	}
	w.a.Add(1)
	return w.mu.Lock(o)
}

func (w *recWard) leave(o *futex.Owner) error {
	if err := w.mu.Unlock(o); err != nil {
		return err
	}
	w.b.Add(1)
	return w.mu.Unlock(o)
}

func (w *recWard) pass() error {
	o := futex.NewOwner()
	if err := w.lock(o); err != nil {
		return err
	}
	return w.leave(o)
}

func (w *recWard) sleeper(when fuzz.When, inside bool) fuzz.Peer {
	return rwPeer("sleeper", when, inside, w.pass)
}

func (w *recWard) holder() fuzz.Peer {
	return fuzz.Peer{Name: "holder", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		o := futex.NewOwner()
		if err := w.lock(o); err != nil {
			return err
		}
		c.Ready()
		c.Blocked()
		return w.leave(o)
	}}
}

func (w *recWard) dead() fuzz.Peer {
	return fuzz.Peer{Name: "dead holder", When: fuzz.Early, Dies: true, Run: func(c *fuzz.Cue) error {
		if err := w.lock(futex.NewOwner()); err != nil {
			return err
		}
		c.Ready()
		select {}
	}}
}

func recOp(name string, others int32, build func(w *recWard) fuzz.Op) *fuzz.Scenario {
	return fuzz.RegisterOp("futex/"+name, 4096, func(s *fuzz.Segment) fuzz.Op {
		w, r := rwAttached[recWard](s)
		op := build(w)
		op.Check = func(died bool) error {
			max := others
			if died {
				max++
			}
			if err := w.pass(); err != nil || w.deaths.Load() > max {
				return fmt.Errorf("ErrOwnerDead %d times after %d deaths, %v", w.deaths.Load(), max, err)
			}
			return nil
		}
		op.Close = r.Detach
		return op
	})
}

var (
	killRecLock = recOp("recursive lock", 0, func(w *recWard) fuzz.Op {
		return fuzz.Op{Do: w.pass, Casts: []fuzz.Cast{
			cast("nobody"),
			cast("rival", w.sleeper(fuzz.AtPoint, false)),
			cast("woken", w.holder(), w.sleeper(fuzz.Behind, false)),
			cast("inside", w.holder(), w.sleeper(fuzz.Asleep, true), w.sleeper(fuzz.Asleep, false)),
		}}
	})
	killRecDead = recOp("recursive lock of the dead", 1, func(w *recWard) fuzz.Op {
		return fuzz.Op{Do: w.pass, Casts: []fuzz.Cast{
			cast("nobody", w.dead()),
			cast("rival", w.dead(), w.sleeper(fuzz.AtPoint, false)),
		}}
	})
	killRecUnlock = recOp("recursive unlock", 0, func(w *recWard) fuzz.Op {
		o := futex.NewOwner()
		return fuzz.Op{
			Prepare: func() error { return w.lock(o) },
			Do:      func() error { return w.leave(o) },
			Casts: []fuzz.Cast{
				cast("nobody"),
				cast("sleeper", w.sleeper(fuzz.Asleep, false)),
				cast("inside", w.sleeper(fuzz.Asleep, true), w.sleeper(fuzz.Asleep, false)),
			},
		}
	})
)

func TestKillPointsRLock(t *testing.T) {
	killEach(t, killRLockFirst, killRLockFree, killRLockBehind, killRLockDead)
}
func TestKillPointsRUnlock(t *testing.T) { killEach(t, killRUnlock) }
func TestKillPointsRWLock(t *testing.T) {
	killEach(t, killWLockFree, killWLockDrain, killWLockDead)
}
func TestKillPointsRWUnlock(t *testing.T)  { killEach(t, killWUnlock) }
func TestKillPointsRecursive(t *testing.T) { killEach(t, killRecLock, killRecDead, killRecUnlock) }
func TestKillPointsRWCatch(t *testing.T) {
	plainBuild(t)
	for sc, in := range map[*fuzz.Scenario]string{killRUnlockUnnamed: ".RUnlockUnnamed", killWUnlockUnnamed: ".UnlockUnnamed"} {
		opts := &fuzz.Options{Points: "all", In: in, ReportOnly: true, MaxFailures: 1}
		if rep := fuzz.KillEach(t, sc, opts); rep.Stuck == 0 || rep.Corrupt > rep.Stuck {
			t.Errorf("%s: %d stuck, %d corrupt; want some, and corrupt only those", sc.Name(), rep.Stuck, rep.Corrupt)
		}
	}
}
