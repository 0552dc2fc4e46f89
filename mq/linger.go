package mq

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A short wait costs least in the kernel: a goroutine that parks for the poller
// pays for the scheduler, for arming its context and for more system calls,
// twice what the message itself needs. So a waiter first sleeps in poll(2) for a
// moment, which burns no CPU, but holds a thread and can't be cancelled. Only
// what is over in that moment gains by it, so:
//
//   - few do it at once in a process: the others park at once;
//   - who did it in vain parks at once the next time, then three times, seven
//     and so on up to 63, until it was worth it again.
//
// The moment is longer than the kernel's tick (4 ms at 250 Hz): a nearer end
// would have its own timer interrupt set up and torn down for each wait, which
// on a virtual machine costs more than all else (36 µs for a round trip of 14).

const (
	lingerFor = 5 * time.Millisecond
	lingerers = 4 // threads
	maxSkip   = 63
)

// lingering is how many sleep in poll(2) now.
var lingering atomic.Int32

// A patience is one line's experience with lingering; it belongs to the holder
// of the token.
type patience struct {
	events int16 // POLLIN or POLLOUT
	skip   int32 // waits to come that park at once
	last   int32 // what skip was after the latest wait in vain
}

// linger sleeps for a moment and reports whether it was worth it: an attempt
// now is likely to succeed.
func (p *patience) linger(fd uintptr) bool {
	if p.skip > 0 {
		p.skip--
		return false
	}
	if lingering.Add(1) > lingerers {
		lingering.Add(-1)
		return false
	}
	if runtime.GOMAXPROCS(0) == 1 {
		runtime.Gosched() // the other side may be a goroutine that has no CPU but this
	}
	ready := pollFor(int32(fd), p.events, lingerFor)
	lingering.Add(-1)
	if ready {
		p.last = 0
		return true
	}
	p.last = min(2*p.last+1, maxSkip)
	p.skip = p.last
	return false
}
