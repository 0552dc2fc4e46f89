package mq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Notify registers this process for the queue's next message, waits for it, and
// returns nil when it is there; the message stays in the queue. If there are
// messages already it returns at once, so that nothing is lost between two
// calls: take all that [Queue.TryRecv] gives, then call Notify again.
//
// It is mq_notify(3), with its rules: each call is one registration, which one
// message uses up; one process at a time can be registered; a program that is
// blocked in mq_receive(3) gets the message and leaves the registration in
// place. Such a receiver waits in the kernel; one in [Queue.Recv] waits in the
// poller, so that Notify returns although the other may take the message.
// Closing the Queue, the end of this call and the death of the process remove
// the registration. A deadline of the Queue is not for Notify.
//
// ctx ends the wait with ctx.Err(); if a message has used the registration up
// at that moment the result is nil. Errors: ctx.Err(); EBUSY if somebody is
// registered; [os.ErrClosed]. Any number of goroutines may call it at once, and
// all but one for a queue get EBUSY.
//
// Of the ways to be told, this is the one that glibc takes for its threads: the
// kernel writes 32 bytes to a socket. The poller waits for those, without a
// thread or a signal. Polling the queue would neither exclude others nor see a
// message that is taken at once.
func (q *Queue) Notify(ctx context.Context) error {
	mustHave(ctx)
	if err := q.ready(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	b, err := newBell()
	if err != nil {
		return err
	}
	defer b.f.Close()
	for armed := false; ; {
		if err := q.register(b); err != nil {
			return err
		}
		if st, err := q.Stat(); err != nil || st.Messages > 0 {
			q.unregister()
			return err
		}
		if !armed && ctx.Done() != nil {
			// The socket is this call's own: nobody else meets the deadline.
			defer context.AfterFunc(ctx, func() { b.f.SetReadDeadline(past) })()
			armed = true
		}
		switch rang, err := b.wait(); {
		case err == nil && rang:
			return nil
		case err == nil && q.d.closed():
			return os.ErrClosed
		case err == nil:
			// The kernel removes the registration when this process closes
			// any descriptor of the queue, not only this one.
			continue
		case !errors.Is(err, os.ErrDeadlineExceeded):
			q.unregister()
			return err
		}
		// If the kernel was faster than ctx the socket has its word. If not,
		// the registration goes, unless it went in between.
		if b.rang() {
			return nil
		}
		q.unregister()
		if b.rang() {
			return nil
		}
		return ctx.Err()
	}
}

func (q *Queue) register(b *bell) (err error) {
	if q.d.control(func(fd uintptr) {
		if cerr := b.rc.Control(func(sock uintptr) { err = mqNotify(int(fd), int(sock), b.cookie[:]) }); cerr != nil {
			err = cerr
		}
	}) != nil {
		return os.ErrClosed
	}
	if err == nil {
		return nil
	}
	err = os.NewSyscallError("mq_notify", err)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mq: a process is registered already, and a queue has one: %w", err)
	}
	return err
}

// unregister may take away what another goroutine has registered since; that
// one sees it and registers again.
func (q *Queue) unregister() {
	_ = q.d.control(func(fd uintptr) { _ = mqUnnotify(int(fd)) }) // closed: it is gone
}

// A bell is where the kernel tells that a registration is over.
type bell struct {
	f      *os.File
	rc     syscall.RawConn
	cookie [cookieLen]byte // the kernel sends it back, with a code in the last byte
	code   byte
	err    error
}

const (
	cookieLen = 32 // NOTIFY_COOKIE_LEN
	wokenUp   = 1  // NOTIFY_WOKENUP: a message came; 2, NOTIFY_REMOVED: none will
)

func newBell() (*bell, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mq: Notify needs a netlink socket: %w", os.NewSyscallError("socket", explainOpen(err)))
	}
	f := os.NewFile(uintptr(fd), "mq_notify")
	if err := f.SetDeadline(time.Time{}); err != nil {
		f.Close()
		return nil, fmt.Errorf("mq: the poller refuses the socket (fs.epoll.max_user_watches?): %w", err)
	}
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &bell{f: f, rc: rc}, nil
}

// wait waits for the end of the registration and reports whether it was a
// message.
func (b *bell) wait() (bool, error) {
	if err := b.rc.Read(b.look); err != nil {
		return false, err
	}
	return b.err == nil && b.code == wokenUp, b.err
}

// rang reports, without waiting, whether a message has come.
func (b *bell) rang() bool {
	said := false
	err := b.rc.Control(func(fd uintptr) { said = b.look(fd) })
	return err == nil && said && b.err == nil && b.code == wokenUp
}

// look takes what the kernel has sent; false if that is nothing.
func (b *bell) look(fd uintptr) bool {
	var got [cookieLen + 1]byte
	n, err := unix.Read(int(fd), got[:])
	for err == unix.EINTR {
		n, err = unix.Read(int(fd), got[:])
	}
	switch {
	case err == unix.EAGAIN:
		return false
	case err == nil && n != cookieLen:
		err = unix.EBADMSG
	}
	b.code, b.err = got[cookieLen-1], os.NewSyscallError("read", err)
	return true
}
