package futex

import (
	"context"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Wait sleeps while *addr holds old, until another goroutine or process calls
// [Wake] on the same memory.
//
// It returns nil when it was woken, when *addr did not hold old to begin with,
// and at times for no reason: a caller looks at the word again, in a loop. It
// can't be cancelled; see [WaitContext] and [WaitUntil]. Other errors are the
// kernel's, as *os.SyscallError: EINVAL when addr is not a multiple of 4,
// EFAULT when there is no memory. Any number may wait at once, and each holds
// an operating-system thread.
func Wait(addr *atomic.Uint32, old uint32) error {
	return sysError("futex_wait", sleep(addr, old, nil, matchAny))
}

// WaitUntil is [Wait] with an end: when deadline is reached before a wake, it
// returns os.ErrDeadlineExceeded, never early. A deadline in the past does not
// sleep; the zero Time waits for ever.
func WaitUntil(addr *atomic.Uint32, old uint32, deadline time.Time) error {
	if deadline.IsZero() {
		return Wait(addr, old)
	}
	var buf unix.Timespec
	return sysError("futex_wait", sleep(addr, old, monotonic(deadline, &buf), matchAny))
}

// WaitContext is [Wait] that blocks until a wake or the end of ctx, and returns
// ctx.Err() for the latter.
// A wake is never lost to it: of a wake and a cancellation that come at one
// time, the wake is reported.
func WaitContext(ctx context.Context, addr *atomic.Uint32, old uint32) error {
	return WaitBitset(ctx, addr, old, matchAny)
}

// WaitBitset is [WaitContext] for a class of wakes: it blocks until [Wake], or a
// [WakeBitset] whose mask has a bit in common with mask, or the end of ctx. A
// mask of 0 is refused with EINVAL.
func WaitBitset(ctx context.Context, addr *atomic.Uint32, old uint32, mask uint32) error {
	mustHave(ctx)
	if mask == 0 {
		return invalid("futex_wait", "WaitBitset with a mask of 0, want a bit")
	}
	return wait(ctx, addr, old, mask, nil)
}

// wait is all the waits on one word. ts is absolute, nil for none; when it is
// reached the answer is os.ErrDeadlineExceeded.
func wait(ctx context.Context, addr *atomic.Uint32, old uint32, mask uint32, ts *unix.Timespec) error {
	if ctx.Done() == nil {
		return sysError("futex_wait", sleep(addr, old, ts, mask))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := newCanceller(addr, mask)
	defer c.release()
	c.arm(ctx)
	var e unix.Errno
	if mask == matchAny && haveWaitv() {
		// The canceller's word stands first: the kernel reports the last of
		// the words that were woken, and a wake must not be lost.
		var v [2]waitvEntry
		v[0].set(&c.word, 0, true)
		v[1].set(addr, old, false)
		var i int
		if i, e = waitv(v[:], ts); e == 0 && i == 0 {
			e = unix.ECANCELED
		}
	} else {
		e = sleepUnless(addr, old, mask, ts, &c.word)
	}
	// EAGAIN may mean either word; the canceller's own tells which. A change
	// of the shared one is reported first.
	if e == unix.EAGAIN && c.word.Load() != 0 {
		e = unix.ECANCELED
	}
	if e == unix.ECANCELED && addr.Load() == old {
		return ctx.Err()
	}
	if e == unix.ECANCELED {
		return nil
	}
	return sysError("futex_wait", e)
}

// sleep returns 0 after a wake, EAGAIN when the word differs, ETIMEDOUT, or
// the kernel's complaint. The time is absolute, so that a signal (Go preempts
// by signals) restarts the wait without lengthening it.
func sleep(addr *atomic.Uint32, old uint32, ts *unix.Timespec, mask uint32) unix.Errno {
	for {
		if e := futexWait(addr, old, ts, mask); e != unix.EINTR {
			return e
		}
	}
}

// sleepUnless is sleep for a canceller without futex_waitv. It says ECANCELED
// only when it did not sleep since the cancellation: a wake may be the
// canceller's or a real one, so it counts as real, and the caller, who looks
// again, meets the ended context at the next call.
func sleepUnless(addr *atomic.Uint32, old, mask uint32, ts *unix.Timespec, cancelled *atomic.Uint32) unix.Errno {
	for cancelled.Load() == 0 {
		if e := futexWait(addr, old, ts, mask); e != unix.EINTR {
			return e
		}
	}
	return unix.ECANCELED
}

func waitv(v []waitvEntry, ts *unix.Timespec) (int, unix.Errno) {
	for {
		if i, e := futexWaitv(v, ts); e != unix.EINTR {
			return i, e
		}
	}
}

// monotonic turns t into a point of CLOCK_MONOTONIC, in buf. The clock is read
// after the time that is left, so that what lies between makes the deadline
// late, never early. Beyond 68 years it is as good as none.
func monotonic(t time.Time, buf *unix.Timespec) *unix.Timespec {
	return monotonicAfter(time.Until(t), buf)
}

// monotonicAfter is the point that lies left ahead.
func monotonicAfter(left time.Duration, buf *unix.Timespec) *unix.Timespec {
	if left > math.MaxInt32*time.Second {
		return nil
	}
	*buf = unix.NsecToTimespec(max(clock()+int64(left), 0))
	return buf
}

// clock is CLOCK_MONOTONIC in ns. Package time reads it without a system call,
// but tells only differences.
func clock() int64 {
	start := clockStart()
	return start.ns + int64(time.Since(start.at))
}

type clockPoint struct {
	at time.Time
	ns int64
}

var clockStart = sync.OnceValue(func() clockPoint {
	at := time.Now()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("futex: clock_gettime: " + err.Error())
	}
	return clockPoint{at, unix.TimespecToNsec(ts)}
})

// sysError hides EAGAIN: that the word changed is as good as a wake.
func sysError(op string, e unix.Errno) error {
	switch e {
	case 0, unix.EAGAIN:
		return nil
	case unix.ETIMEDOUT:
		return os.ErrDeadlineExceeded
	}
	return os.NewSyscallError(op, e)
}
