package fuzz_test

import (
	"os"
	"testing"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/shm"
)

// FuzzModelLocks plays on all that lies in shared memory for one to wait on, in
// the forms that don't wait, or wait with a context that has ended.
func FuzzModelLocks(f *testing.F) { playAll(f, lockPlays) }

var lockPlays = []play{{"locks", castLocks, farLocks, modelLocks}}

type lockRole struct {
	*shm.Shared[allLocks]
	owners [2]*futex.Owner
}

func newLockRole(s *shm.Shared[allLocks]) lockRole {
	return lockRole{s, [2]*futex.Owner{futex.NewOwner(), futex.NewOwner()}}
}

func castLocks(byte) (role, []*os.File, func(), error) {
	s, err := shm.New(initLocks)
	if err != nil {
		return nil, nil, nil, err
	}
	files, err := s.PassFiles()
	return newLockRole(s), files, func() {}, err
}

func farLocks(files []*os.File) (role, error) {
	s := new(shm.Shared[allLocks])
	return newLockRole(s), s.TakeFiles(files)
}

const lockOps = 32

func (r lockRole) do(op byte, arg uint16, late bool) string {
	l, o := r.Ptr(), r.owners[arg%2]
	ctx, cancel := in(late)
	defer cancel()
	try := func(got bool, err error) string { return said(err, got) }
	switch op % lockOps {
	case 0:
		return ok(l.Mutex.TryLock())
	case 1:
		return said(l.Mutex.LockContext(ctx))
	case 2:
		l.Mutex.Unlock()
		return ok()
	case 3:
		return try(l.Robust.TryLock())
	case 4:
		return said(l.Robust.LockContext(ctx))
	case 5:
		return said(l.Robust.Unlock())
	case 6:
		return said(l.Robust.MarkConsistent())
	case 7:
		return try(l.RW.TryLock())
	case 8:
		return said(l.RW.LockContext(ctx))
	case 9:
		return said(l.RW.Unlock())
	case 10:
		return try(l.RW.TryRLock())
	case 11:
		return said(l.RW.RLock())
	case 12:
		return said(l.RW.RLockContext(ctx))
	case 13:
		return said(l.RW.RUnlock())
	case 14:
		return try(l.Recursive.TryLock(o))
	case 15:
		return said(l.Recursive.LockContext(ctx, o))
	case 16:
		return said(l.Recursive.Unlock(o))
	case 17:
		return ok(l.Semaphore.TryAcquire(), l.Semaphore.Value())
	case 18:
		return said(l.Semaphore.Acquire(ctx), l.Semaphore.Value())
	case 19:
		return said(l.Semaphore.AcquireOwned(ctx), l.Semaphore.Value())
	case 20:
		return said(l.Semaphore.Release(), l.Semaphore.Value())
	case 21:
		return said(l.Semaphore.ReleaseOwned(), l.Semaphore.Value())
	case 22:
		l.Event.Set()
		return ok(l.Event.IsSet())
	case 23:
		l.Event.Reset()
		return ok(l.Event.IsSet())
	case 24:
		return said(l.Event.Wait(ctx), l.Event.IsSet())
	case 25:
		leader, err := l.Barrier.Wait(ctx)
		return said(err, leader)
	case 26:
		l.Barrier.Break()
		return ok(l.Barrier.IsBroken(), l.Barrier.Waiting())
	case 27:
		l.Barrier.Reset()
		return ok(l.Barrier.IsBroken(), l.Barrier.Waiting())
	case 28:
		ran := false
		err := l.Once.Do(ctx, func() error {
			if ran = true; arg%2 == 0 {
				return errPlanned
			}
			return nil
		})
		return said(err, ran)
	case 29:
		return said(l.Cond.Notify(int(arg) % 4))
	case 30: // a signal is not remembered
		return said(l.Cond.Wait(ctx, &l.Robust))
	}
	return said(l.Cond.Broadcast())
}

// modelLocks: a lock belongs to a process, a recursive one to an owner.
func modelLocks(_ byte, apart bool) func(bool, byte, uint16) (string, bool) {
	type owner struct {
		far bool
		n   uint16
	}
	const nobody = -1
	var (
		mutex          bool
		robust, writer = nobody, nobody
		readers, owned [2]int
		recursive      *owner
		depth          int
		tokens         = 2
		event, broken  bool
		once           bool
		taken          = func(free bool) (string, bool) {
			return map[bool]string{true: ok(), false: fails("canceled")}[free], !free
		}
		acquire, release func(kind string) (string, bool)
	)
	acquire = func(kind string) (string, bool) {
		if kind == "ok" {
			tokens--
		}
		return fails(kind, tokens), kind == "canceled"
	}
	release = func(kind string) (string, bool) {
		if kind == "ok" {
			tokens++
		}
		return fails(kind, tokens), false
	}
	return func(far bool, op byte, arg uint16) (string, bool) {
		me := 0
		if far && apart {
			me = 1
		}
		who := owner{far, arg % 2}
		reading := readers[0] + readers[1]
		switch op % lockOps {
		case 0:
			got := !mutex
			mutex = true
			return ok(got), false
		case 1:
			defer func() { mutex = true }()
			return taken(!mutex)
		case 2:
			if !mutex { // it panics, as it should
				return "", false
			}
			mutex = false
			return ok(), false
		case 3, 4:
			free := robust == nobody
			if free {
				robust = me
			}
			if op%lockOps == 3 {
				return ok(free), false
			}
			return taken(free)
		case 5:
			if robust != me {
				return fails("not owner"), false
			}
			robust = nobody
			return ok(), false
		case 6:
			if robust != me {
				return fails("not owner"), false
			}
			return fails("invalid"), false
		case 7, 8:
			free := writer == nobody && reading == 0
			if free {
				writer = me
			}
			if op%lockOps == 7 {
				return ok(free), false
			}
			return taken(free)
		case 9:
			if writer != me {
				return fails("not owner"), false
			}
			writer = nobody
			return ok(), false
		case 10, 11, 12:
			free := writer == nobody
			if free {
				readers[me]++
			}
			switch {
			case op%lockOps == 12:
				return taken(free)
			case op%lockOps == 10:
				return ok(free), false
			case !free: // it can't be cancelled
				return "", false
			}
			return ok(), false
		case 13:
			if readers[me] == 0 {
				return fails("not owner"), false
			}
			readers[me]--
			return ok(), false
		case 14, 15:
			free := recursive == nil || *recursive == who
			if free {
				recursive = &who
				depth++
			}
			if op%lockOps == 14 {
				return ok(free), false
			}
			return taken(free)
		case 16:
			if recursive == nil || *recursive != who {
				return fails("not owner"), false
			}
			if depth--; depth == 0 {
				recursive = nil
			}
			return ok(), false
		case 17:
			if tokens == 0 {
				return ok(false, 0), false
			}
			tokens--
			return ok(true, tokens), false
		case 18, 19:
			if tokens == 0 {
				return acquire("canceled")
			}
			if op%lockOps == 19 {
				owned[me]++
			}
			return acquire("ok")
		case 20:
			if tokens == 4 {
				return release("overflow")
			}
			return release("ok")
		case 21:
			switch {
			case owned[me] == 0:
				return release("not owner")
			case tokens == 4: // strangers gave tokens that they had not
				return "", false
			}
			owned[me]--
			return release("ok")
		case 22:
			event = true
			return ok(true), false
		case 23:
			event = false
			return ok(false), false
		case 24:
			if !event {
				return fails("canceled", false), true
			}
			return ok(true), false
		case 25:
			if broken {
				return fails("broken", false), false
			}
			broken = true
			return fails("canceled", false), true
		case 26:
			broken = true
			return ok(true, 0), false
		case 27:
			broken = false
			return ok(false, 0), false
		case 28:
			switch {
			case once:
				return ok(false), false
			case arg%2 == 0:
				return fails("planned", true), false
			}
			once = true
			return ok(true), false
		case 30:
			if robust != me {
				return "", false
			}
			return fails("canceled"), true
		}
		return ok(), false
	}
}
