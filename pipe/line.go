package pipe

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A line orders the callers of one direction of a descriptor and cancels the
// one at its head.
//
// A deadline is the only way out of the poller, and it belongs to the
// descriptor, not to a goroutine. So callers take turns and only the holder of
// the turn waits in the poller. When its context ends, the deadline goes to the
// past; before the turn is passed on, that has either not happened and never
// will, or has been undone. The deadline of the user applies to all: it
// ends the holder's wait, and each next holder meets it in turn.
type line struct {
	turn
	try    attempter
	fd     int
	wait   func(func(fd uintptr) bool) error // RawConn.Read or RawConn.Write
	set    func(time.Time) error             // File.SetReadDeadline or …Write…
	closed *atomic.Bool

	// The holder's.
	ctx    context.Context
	stop   func() bool // set while a context may end the wait
	ctxErr error       // ctx had ended before the wait began
	step   func(fd uintptr) bool
	expire func()
	joined chan struct{} // expire has run
	patience

	using sync.Mutex  // held while fd is used outside the poller
	timed atomic.Bool // the user has set a deadline

	mu    sync.Mutex // guards what follows, and the descriptor's deadline
	user  time.Time  // the deadline that the user asked for
	ended bool       // the deadline is in the past for the holder's context
}

// past is any time that is over: not the zero time, which means no deadline.
var past = time.Unix(1, 0)

// An attempter makes one attempt that doesn't block and returns false if it
// would have.
type attempter interface{ attempt(fd uintptr) bool }

// init prepares the line. Without an fd, -1, callers don't look for what they
// wait for but park at once.
func (l *line) init(fd int, wait func(func(uintptr) bool) error, set func(time.Time) error, closed *atomic.Bool, try attempter) {
	l.pass, l.joined = make(chan struct{}, 1), make(chan struct{}, 1)
	l.fd, l.try, l.wait, l.set, l.closed = fd, try, wait, set, closed
	if fd < 0 {
		l.rest, l.until = maxRest, math.MaxInt64
	}
	// Built once: a closure for each call would be an allocation for each.
	l.step = func(fd uintptr) bool { return l.look(l.ctx, fd) || l.arm() }
	l.expire = func() {
		l.mu.Lock()
		l.ended = true
		l.set(past) // fails on a closed file only, which ends the wait anyway
		l.mu.Unlock()
		l.joined <- struct{}{}
	}
}

// run attempts until an attempt is through, and waits in the poller between
// them. It returns nil (the attempt left its own result), ctx.Err(),
// os.ErrDeadlineExceeded for the user's deadline, or os.ErrClosed. Only the
// holder of the turn calls it.
func (l *line) run(ctx context.Context) error {
	l.fresh = true
	if l.fd >= 0 && !l.timed.Load() {
		if found, err := l.lookBefore(ctx); found || err != nil {
			return err
		}
	}
	l.ctx = ctx
	err := l.wait(l.step)
	l.ctx = nil
	if l.ctxErr != nil {
		err, l.ctxErr = l.ctxErr, nil
	}
	if l.stop != nil && l.disarm() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ctx.Err()
	}
	if err != nil && l.closed.Load() {
		return os.ErrClosed // the poller has a private error for it
	}
	return err
}

// lookBefore looks without the poller, whose own looks cost more: that is, with
// no deadline to be kept, and with what keeps Close away.
func (l *line) lookBefore(ctx context.Context) (bool, error) {
	l.using.Lock()
	defer l.using.Unlock()
	if l.closed.Load() {
		return false, os.ErrClosed
	}
	return l.look(ctx, uintptr(l.fd)), nil
}

// unused waits, once closed is set, until nobody looks without the poller any
// more: a moment.
func (l *line) unused() {
	l.using.Lock()
	defer l.using.Unlock()
}

// arm lets the context end the wait that is about to begin. It returns true if
// there must be none, because the context is over already.
func (l *line) arm() bool {
	if l.stop != nil || l.ctx.Done() == nil {
		return false
	}
	if l.ctxErr = l.ctx.Err(); l.ctxErr != nil {
		return true
	}
	l.stop = context.AfterFunc(l.ctx, l.expire)
	return false
}

// disarm undoes arm and reports whether the context had ended the wait. After
// it, expire neither runs nor will.
func (l *line) disarm() bool {
	stopped := l.stop()
	l.stop = nil
	if stopped {
		return false
	}
	<-l.joined
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = false
	l.set(l.user)
	return true
}

// setUser sets the user's deadline, for the holder and those after it.
func (l *line) setUser(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return os.ErrClosed
	}
	l.user = t
	l.timed.Store(!t.IsZero())
	if l.ended {
		return nil // disarm will set it
	}
	if err := l.set(t); err != nil && l.closed.Load() {
		return os.ErrClosed
	} else if err != nil {
		return err
	}
	return nil
}
