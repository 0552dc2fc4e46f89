package mq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The file is pipe/line.go, as turn.go and yield.go are pipe's: the two packages
// stand alone, so each has its own.

// A line orders the callers of one direction of a descriptor and cancels the
// one at its head.
//
// A deadline is the only way out of the poller, and it belongs to what is in
// the poller, not to a goroutine. So callers take turns and only the holder of
// the turn waits there. When its context ends, the deadline goes to the
// past; before the turn is passed on, that has either not happened and never
// will, or has been undone. The deadline of the user applies to all: it
// ends the holder's wait, and each next holder meets it in turn.
//
// What is in the poller is not the descriptor but an epoll instance of the line's
// own, made for the first who has to wait. It watches the descriptor only while
// calls do wait: after calmCalls in a row that didn't, it lets go of it.
type line struct {
	turn
	try    attempter
	d      *descriptor
	events uint32 // what it waits for: EPOLLIN or EPOLLOUT

	// The holder's.
	ctx    context.Context
	stop   func() bool                       // set while a context may end the wait
	early  error                             // why the wait ended before it began
	wait   func(func(fd uintptr) bool) error // RawConn.Read or RawConn.Write, once somebody has to wait
	step   func(fd uintptr) bool
	expire func()
	joined chan struct{} // expire has run
	patience
	epfd    int
	direct  bool  // there is none
	watched bool  // it has the descriptor
	calm    uint8 // calls in a row that didn't wait since

	timed atomic.Bool // the user has set a deadline

	mu    sync.Mutex // guards what follows, and the deadline in the poller
	epoll *os.File
	set   func(time.Time) error // File.SetReadDeadline or …Write…, once there is a wait
	user  time.Time             // the deadline that the user asked for
	ended bool                  // the deadline is in the past for the holder's context
}

// calmCalls is after how many calls without a wait the descriptor is no longer
// watched. To watch it again costs as much as twenty messages lose by it.
const calmCalls = 32

// past is any time that is over: not the zero time, which means no deadline.
var past = time.Unix(1, 0)

// An attempter makes one attempt that doesn't block and returns false if it
// would have.
type attempter interface{ attempt(fd uintptr) bool }

func (l *line) init(d *descriptor, events uint32, try attempter) {
	l.pass, l.joined = make(chan struct{}, 1), make(chan struct{}, 1)
	l.d, l.events, l.try = d, events, try
	// Built once: a closure for each call would be an allocation for each.
	l.step = func(uintptr) bool {
		// Only an attempt that found nothing at all is sure of an event.
		for {
			l.moved = false
			if l.look(l.ctx) {
				return true
			}
			if !l.moved || l.over() {
				break
			}
		}
		return l.arm() || l.watch()
	}
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
// os.ErrDeadlineExceeded for the user's deadline, os.ErrClosed, or why the
// poller can't be used. Only the holder of the turn calls it.
func (l *line) run(ctx context.Context) error {
	if l.d.closed() {
		return os.ErrClosed // and if it isn't, close waits for the turn's end
	}
	// With no deadline to be kept it looks without the poller.
	if !l.timed.Load() && (l.glance() || l.look(ctx)) {
		if l.watched {
			l.unwatch()
		}
		return nil
	}
	return l.park(ctx)
}

// park waits in the poller.
func (l *line) park(ctx context.Context) error {
	if l.wait == nil {
		if err := l.prepare(); err != nil {
			return err
		}
	}
	l.calm = 0
	l.ctx = ctx
	err := l.wait(l.step)
	l.ctx = nil
	if l.early != nil {
		err, l.early = l.early, nil
	}
	if l.stop != nil && l.disarm() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ctx.Err()
	}
	if err == errUnwatched {
		l.drop()
		return l.park(ctx)
	}
	if err != nil && l.d.closed() {
		return os.ErrClosed // the poller has a private error for it
	}
	return err
}

// errUnwatched says that the epoll instance can't have the descriptor: the kernel
// lets 500 that are in another one watch an open file.
var errUnwatched = errors.New("not watched")

// drop gives the epoll instance up: from here on the line waits as it does without
// room for one.
func (l *line) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoll.Close()
	l.epoll, l.wait, l.set, l.direct = nil, nil, nil, true
}

// prepare makes what the holder waits with.
func (l *line) prepare() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.d.closed() {
		return os.ErrClosed
	}
	if !l.direct {
		if fd, err := newEpoll(); err == nil {
			l.epfd, l.epoll = fd, os.NewFile(uintptr(fd), "epoll")
			return l.waitIn(l.epoll)
		}
		// There is no room for another descriptor: the one that is there has to do.
	}
	f, err := l.d.file()
	if err != nil {
		return err
	}
	return l.waitIn(f)
}

// newEpoll makes an epoll instance that os.NewFile puts into the poller: one that
// doesn't block.
func newEpoll() (int, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// waitIn says where the holder waits, with l.mu held.
func (l *line) waitIn(f *os.File) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	wait, set := rc.Read, f.SetReadDeadline
	if l.watched = f != l.epoll; l.watched && l.events == unix.EPOLLOUT {
		wait, set = rc.Write, f.SetWriteDeadline
	}
	if err := set(l.user); err != nil { // NewFile doesn't say that the poller had no room
		if l.epoll != nil {
			l.epoll.Close()
			l.epoll = nil
		}
		return noRoom(err)
	}
	l.wait, l.set = wait, set
	return nil
}

func noRoom(err error) error {
	return fmt.Errorf("the poller refuses the descriptor (fs.epoll.max_user_watches?): %w", err)
}

// watch has the descriptor watched, for the wait that is about to begin. It
// returns true if there must be none, because that can't be. What has come
// since the latest attempt is found as the descriptor is added.
func (l *line) watch() bool {
	if l.watched {
		return false
	}
	err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, l.d.fd, &unix.EpollEvent{Events: l.events | unix.EPOLLET})
	if err != nil {
		l.early = errUnwatched
		return true
	}
	l.watched = true
	return false
}

// over reports whether a wait would end at once, whatever the descriptor does.
func (l *line) over() bool {
	if l.ctx.Err() != nil || l.d.closed() {
		return true
	}
	if !l.timed.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.user.IsZero() && !time.Now().Before(l.user)
}

// unwatch counts a call that didn't wait, and ends the watch after enough.
func (l *line) unwatch() {
	if l.calm++; l.calm < calmCalls || l.epoll == nil {
		return
	}
	l.calm = 0
	l.watched = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, l.d.fd, nil) != nil
}

// evict ends the holder's wait for good: the descriptor is being closed. A wait
// that begins later ends at once, or is refused by prepare.
func (l *line) evict() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set != nil {
		l.set(past)
	}
}

// arm lets the context end the wait that is about to begin. It returns true if
// there must be none, because the context is over already.
func (l *line) arm() bool {
	if l.stop != nil || l.ctx.Done() == nil {
		return false
	}
	if l.early = l.ctx.Err(); l.early != nil {
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
	if !l.d.closed() {
		l.set(l.user)
	}
	return true
}

// setUser sets the user's deadline, for the holder and those after it.
func (l *line) setUser(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.d.closed() {
		return os.ErrClosed
	}
	l.user = t
	l.timed.Store(!t.IsZero())
	if l.ended || l.set == nil {
		return nil // disarm or prepare will set it
	}
	return l.set(t)
}
