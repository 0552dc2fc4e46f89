package futex

import (
	"time"

	"golang.org/x/sys/unix"
)

// yieldPolicy says when giving the CPU away pays: see [Spinner.yield]. As
// spinPolicy it is variable for benchmarks and tests only.
var yieldPolicy = struct {
	// long is what a yield takes at least if the CPU goes to somebody who does
	// not wait for us, but computes: his slice is some milliseconds. 0 never
	// yields.
	long time.Duration
	// maxSkips bounds how many waits in a row don't try.
	maxSkips uint32
}{300 * time.Microsecond, 4096}

// yield is the last that a waiter tries before it sleeps: it lets others run on
// this CPU. If the partner is one of them, the kernel switches to him and, when
// he waits in turn, back: for half of what sleep and wake take, which he is
// spared too.
//
// It does not pay where nobody else wants the CPU, nor where one who computes
// has it for milliseconds: a sleeper would get it back as soon as he is woken.
// After either a number of waits that doubles each time goes without.
func (s *Spinner) yield(ready func() bool) bool {
	switch {
	case s.unyielding > 0:
		s.unyielding--
		return false
	case spinPolicy.budget < 0 || yieldPolicy.long == 0:
		return false
	}
	start := time.Now()
	unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // the runtime may go on without us
	ok := ready()
	if ok && time.Since(start) < yieldPolicy.long {
		s.inVain /= 2
		return true
	}
	s.inVain = min(s.inVain+1, 16)
	s.unyielding = min(uint32(1)<<s.inVain, yieldPolicy.maxSkips)
	return ok
}
