package shm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"

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

// mayGoPlain counts a commit, and says after each plainAfter of them whether this
// process may go without fences.
func mayGoPlain(commits *uint32) bool {
	if *commits++; *commits < plainAfter {
		return false
	}
	*commits = 0
	return plainStores && fenced()
}

// goPlain lets an end commit without a fence from now on; word tells the other end.
//
// SYNC ring-plain: the store of word has a fence. A sleeper that still finds
// word 0 after he has stored sleeps did so before this end stored word, and so
// before this end's later looks at sleeps: they see it. A sleeper that finds
// word 1 makes the fence himself, between his store of sleeps and his look at
// the position (settle). At that moment this end, if it runs, has either stored
// its position, and he sees it, or has yet to look at sleeps, and sees that; if
// it does not run, it was fenced when it lost its CPU.
func (o *ring) goPlain(word *atomic.Uint32) {
	word.Store(1)
	o.plain = true
}

// settle makes up for the fence that another one goes without, if plain says that
// he does. It reports false where that can't be done, as membarrier is forbidden to
// this process: then a sleeper has to look again by himself.
func settle(plain bool) bool { return !plain || settleWith(fenceAll) == nil }

var settleWith = membarrier // tests break it

// unsettled is how long a sleeper sleeps at a time whose settle failed.
const unsettled = 10 * time.Millisecond

// sleepOn is futex.WaitAny, but for that time at most if not settled.
func sleepOn(ctx context.Context, settled bool, words ...futex.Word) error {
	if settled {
		_, err := futex.WaitAny(ctx, words...)
		return err
	}
	short, cancel := context.WithTimeout(ctx, unsettled)
	defer cancel()
	if _, err := futex.WaitAny(short, words...); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	return nil
}
