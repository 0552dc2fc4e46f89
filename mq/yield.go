package mq

import (
	"context"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// This file is the whole policy of waiting without sleeping.
//
// A goroutine that parks in the poller and is woken pays for the scheduler, for
// epoll and for the kernel's own sleep: two to four times what the message
// costs. Most answers come sooner than that. So who finds nothing gives the CPU
// away by sched_yield(2) and looks again, for a moment: on one CPU that hands it
// to the peer, as sleeping would; on several it saves waking a sleeper on
// another one.
//
// What it may cost is bounded:
//   - a moment is lookFor, and it ends with the context;
//   - after one in vain the line parks at once for some time, which doubles with
//     each, so who never gains by it pays next to nothing, and who waits long
//     uses no CPU;
//   - on a busy CPU somebody else gets it and keeps it for milliseconds, where
//     a sleeper would have been woken before: that counts as in vain, unless
//     what is there then takes half as long to use up: so looks of milliseconds
//     take two thirds of a caller's time at most, whoever had the CPU;
//   - few of a process look at a time, the others park.
//
// Tried before: to sleep in ppoll(2) on the descriptor and an eventfd, without
// the poller. It took 1.5 times as long as C's blocking read, this takes as long
// as that; and on one CPU it kept the other goroutines waiting until Go's
// scheduler noticed, up to 10 ms.

const (
	lookFor = 50 * time.Microsecond
	tooLong = 300 * time.Microsecond // somebody else had the CPU, perhaps
	aSlice  = time.Millisecond       // it was not the peer alone

	minRest = time.Millisecond
	maxRest = 256 * time.Millisecond
	forget  = 1024 // a look with success takes this part off the rest

	// After drySpell calls that found nothing at first, calls yield before they
	// look, but for one in checkEach.
	drySpell  = 4
	checkEach = 16

	// While all goes well one yield in clockEach is timed.
	clockEach = 8
)

// lookers counts those of this process that look now.
var lookers atomic.Int32

// maxLookers is how many may. Two goroutines that talk need one each.
var maxLookers = int32(max(2, runtime.NumCPU()))

// began is what times are counted from: a reading is one call then, not two.
var began = time.Now()

// A patience is what a line has learned about looking. It belongs to the holder
// of the turn.
type patience struct {
	moved bool          // the attempt that wasn't through got a part through
	spent bool          // another attempt, at once, would find nothing
	tried bool          // glance has made one in this call
	dry   uint8         // calls in a row that found nothing at first
	blind uint8         // yields since the latest that was timed
	rest  time.Duration // how long to park at once, after the latest in vain
	until time.Duration // and when that is over
	late  time.Duration // how long a look took that found something late; 0: it is decided
	found time.Duration // when it did
}

// glance is a call's first look, while all goes well: one attempt, and a yield
// before it if the latest calls found nothing at first. look goes on from there.
func (l *line) glance() bool {
	fd := uintptr(l.d.fd)
	tried := !l.spent && (l.dry < drySpell || l.dry%checkEach == 0)
	if tried && l.try.attempt(fd) {
		l.dry = 0
		return true
	}
	l.judge()
	l.dry++
	if l.blind++; l.rest == 0 && l.blind < clockEach {
		l.spent, tried = false, true
		yield()
		if l.try.attempt(fd) {
			return true
		}
	}
	l.spent, l.tried = true, tried
	return false
}

// judge decides about a late find, when all that came of it is used up. It was worth
// it if that kept the caller busy for half the time that it took: the peer was busy
// for as long. Else somebody else had the CPU. A peer that fills a pipe with the
// smallest messages takes half a millisecond, and ten times as long as it takes to
// receive them, many by one call; but less than others have the CPU for.
func (l *line) judge() {
	if l.late == 0 {
		return
	}
	worth := l.late / 2
	if l.late < aSlice {
		worth = l.late / 16
	}
	if now := time.Since(began); now-l.found < worth {
		l.vain(l.late, now)
	}
	l.late = 0
}

// vain lets the line rest after a look that was in vain and took so long.
func (l *line) vain(took, now time.Duration) {
	l.rest = min(max(2*l.rest, 2*took, minRest), maxRest)
	l.until = now + l.rest
}

// look attempts, and again for a moment if that may be worth it. The result is
// that of the last attempt.
func (l *line) look(ctx context.Context) bool {
	fd := uintptr(l.d.fd)
	hasty, tried := !l.spent, l.tried
	l.spent, l.tried = false, false
	if hasty && l.try.attempt(fd) {
		return true
	}
	l.judge()
	l.blind = 0
	if start := time.Since(began); start >= l.until {
		n := lookers.Add(1)
		defer lookers.Add(-1)
		if n <= maxLookers {
			return l.keepLooking(ctx, fd, start)
		}
	}
	return !hasty && !tried && l.try.attempt(fd)
}

func (l *line) keepLooking(ctx context.Context, fd uintptr, start time.Duration) bool {
	for idle := false; ctx.Err() == nil; {
		if idle && runtime.GOMAXPROCS(0) == 1 {
			runtime.Gosched() // to a peer in this process
		}
		yield()
		found := l.try.attempt(fd)
		now := time.Since(began)
		if idle = true; l.moved && !found && now-start < tooLong && !l.timed.Load() && !l.d.closed() {
			l.moved, idle, start = false, false, now // a part got through
		}
		if found && now-start < tooLong {
			if l.rest -= l.rest / forget; l.rest < minRest {
				l.rest = 0
			}
			return true
		}
		if now-start > lookFor {
			if !found {
				l.vain(now-start, now)
				return false
			}
			l.late, l.found, l.dry = now-start, now, 0
			return true
		}
	}
	return false
}

// yield lets another thread have the CPU, if there is one that wants it. It is
// raw so that Go's scheduler doesn't take it for a wait.
func yield() { syscall.RawSyscall6(syscall.SYS_SCHED_YIELD, 0, 0, 0, 0, 0, 0) }
