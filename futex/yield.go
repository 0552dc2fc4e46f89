package futex

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// yieldPolicy says when giving the CPU away pays: see [yielder.yield]. As
// spinPolicy it is variable for benchmarks and tests only.
var yieldPolicy = struct {
	// long is what a yield takes at least if the CPU goes to somebody who does
	// not wait for us, but computes: his slice is some milliseconds. 0 never
	// yields.
	long time.Duration
	// maxSkips bounds how many waits in a row don't try.
	maxSkips uint32
}{300 * time.Microsecond, 4096}

// aSleep is about what a wait takes that sleeps, its partner on the same CPU.
const aSleep = 10 * time.Microsecond

// A yielder is what the waits of one place have learned of yields. Goroutines
// that use it at once may mix up its counts, which makes them learn less.
type yielder struct {
	inVain, skips atomic.Uint32
}

// yield is the last that a waiter tries before it sleeps, and before it says so
// to those who would then have to wake it: it lets others run on this CPU. If
// the partner is one of them, the kernel switches to him and, when he waits in
// turn, back: for half of what sleep and wake take, which he is spared too.
//
// It does not pay where nobody else wants the CPU, nor where one who computes
// has it for milliseconds: a sleeper would get it back as soon as he is woken.
// After either a number of waits that doubles each time goes without, and as many
// as have taken by sleep what the yield took: half of the time is all that is lost
// while this is learned.
func (y *yielder) yield(ready func() bool) bool {
	if n := y.skips.Load(); n > 0 {
		y.skips.Store(n - 1)
		return false
	}
	if yieldPolicy.long == 0 {
		return false
	}
	start := time.Now()
	unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // the runtime may go on without us
	ok, vain, took := ready(), y.inVain.Load(), time.Since(start)
	if ok && took < yieldPolicy.long {
		y.inVain.Store(vain / 2)
		return true
	}
	vain = min(vain+1, 16)
	y.inVain.Store(vain)
	y.skips.Store(min(max(1<<vain, uint32(took/aSleep)), yieldPolicy.maxSkips))
	return ok
}

// yielders are those of the places that have no [Spinner], by address. That two
// share one makes them learn less.
var yielders [256]yielder

func yielderOf(addr uintptr) *yielder { return &yielders[(addr>>4^addr>>12)&255] }
