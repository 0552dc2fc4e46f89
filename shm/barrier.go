package shm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A store that all other CPUs are waited for costs a busy ring end a third of
// its time. It may do without once the other end, which seldom sleeps, pays for
// both: with membarrier(2), a fence on all CPUs that run a process which has
// registered for it.

// The commands of membarrier, since Linux 4.16.
const (
	fenceAll      = 1 << 1 // MEMBARRIER_CMD_GLOBAL_EXPEDITED
	fenceRegister = 1 << 2 // MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED
)

func membarrier(cmd uintptr) error {
	if _, _, e := unix.Syscall(unix.SYS_MEMBARRIER, cmd, 0, 0); e != 0 {
		return e
	}
	return nil
}

// fencing is this process's registration. It takes the kernel some milliseconds,
// so nobody waits for it.
var fencing struct {
	once sync.Once
	on   atomic.Bool
}

// fenced reports whether this process is registered. The first call sees to it.
func fenced() bool {
	fencing.once.Do(func() {
		go func() {
			if membarrier(fenceRegister) == nil {
				fencing.on.Store(true)
			}
		}()
	})
	return fencing.on.Load()
}

// plainAfter is how many commits an end makes with a fence before it tries to go
// without: what is used little need not register.
var plainAfter uint32 = 1 << 14

// goPlain lets an end commit without a fence from now on, if it may; word tells
// the other end.
//
// SYNC ring-plain: the store of word has a fence. A sleeper that still finds
// word 0 after he has stored sleeps did so before this end stored word, and so
// before this end's later looks at sleeps: they see it. A sleeper that finds
// word 1 makes the fence himself, between his store of sleeps and his look at
// the position (settle). At that moment this end, if it runs, has either stored
// its position, and he sees it, or has yet to look at sleeps, and sees that; if
// it does not run, it was fenced when it lost its CPU.
func (o *ring) goPlain(word *atomic.Uint32) {
	o.commits = 0
	if plainStores && fenced() {
		word.Store(1)
		o.plain = true
	}
}

// settle makes up for the fence that the other end goes without. It reports
// false where that can't be done, as membarrier is forbidden to this process:
// then the sleeper has to look again by himself.
func settle(otherPlain *atomic.Uint32) bool {
	return otherPlain.Load() == 0 || settleWith(fenceAll) == nil
}

var settleWith = membarrier // tests break it

// unsettled is how long a sleeper sleeps at a time whose settle failed.
const unsettled = 10 * time.Millisecond

// briefly is sleep with a context that ends after that time, which is no error.
func briefly(ctx context.Context, sleep func(context.Context) error) error {
	short, cancel := context.WithTimeout(ctx, unsettled)
	defer cancel()
	if err := sleep(short); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	return nil
}
