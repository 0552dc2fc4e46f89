package pipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Select waits until a reader of at least one of the conns would find something:
// a message or a part of one, a peer that connects, an end of a stream, an error,
// or, for a pidfd, the end of the process. It returns the indexes of all that
// are ready, in order. Besides Conns and Listeners it takes processes of
// package proc, queues of package mq, and whatever else has a descriptor that
// can be polled.
//
// Nothing is taken out: another receiver may be faster, so that a Recv
// afterwards waits again. A Conn that has read ahead is ready.
//
// It blocks with no thread held. A context that has already ended makes it a
// look that doesn't wait: ready indexes, or ctx.Err() if there are none.
//
// Errors: ctx.Err(); [os.ErrInvalid] for no conns or a nil one; [os.ErrClosed]
// if one of them is closed already, EPERM if it can't be polled, as a file on
// a disk can't: the error names the index. None of them may be closed during
// the call; the kernel doesn't report that. Any number of goroutines may call
// it at once, with the same conns too.
func Select(ctx context.Context, conns ...syscall.Conn) (ready []int, err error) {
	mustHave(ctx)
	if len(conns) == 0 {
		return nil, fmt.Errorf("pipe: Select among nothing: %w", os.ErrInvalid)
	}
	for i, c := range conns {
		if c == nil {
			return nil, fmt.Errorf("pipe: Select: conn %d is nil: %w", i, os.ErrInvalid)
		}
		if c, ok := c.(*Conn); ok && c.unread.Load() > 0 {
			ready = append(ready, i)
		}
	}
	if len(ready) > 0 {
		done, cancel := context.WithCancel(ctx) // the others are only looked at
		cancel()
		ctx = done
	}
	w, err := newWatch()
	if err != nil {
		return nil, err
	}
	defer w.close()
	first := make(map[int][]int, len(conns)) // by descriptor: the same may stand there twice
	for i, c := range conns {
		fd, err := w.add(c, unix.EPOLLIN, first)
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("it is of a kind that can't be polled, as a file on a disk is: %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("pipe: Select: conn %d: %w", i, err)
		}
		first[fd] = append(first[fd], i)
	}
	fds, err := w.wait(ctx, len(first))
	if err != nil && len(ready) == 0 {
		return nil, err
	}
	is := make([]bool, len(conns))
	for _, i := range ready {
		is[i] = true
	}
	for _, fd := range fds {
		for _, i := range first[fd] {
			is[i] = true
		}
	}
	ready = ready[:0]
	for i := range is {
		if is[i] {
			ready = append(ready, i)
		}
	}
	return ready, nil
}

// A watch waits for several descriptors: an epoll instance that the netpoller,
// an epoll instance itself, waits for. Its deadline is nobody else's.
type watch struct {
	f  *os.File
	rc syscall.RawConn
}

func newWatch() (*watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or NewFile won't poll it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	w := &watch{f: os.NewFile(uintptr(fd), "epoll")}
	if w.rc, err = w.f.SyscallConn(); err == nil {
		err = w.f.SetReadDeadline(time.Time{})
	}
	if err != nil {
		w.f.Close()
		return nil, err
	}
	return w, nil
}

func (w *watch) close() { w.f.Close() }

// add watches a descriptor, unless known has it already, and returns it.
func (w *watch) add(c syscall.Conn, events uint32, known map[int][]int) (int, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	var addErr error
	err = rc.Control(func(fd uintptr) {
		n = int(fd)
		if _, ok := known[n]; ok {
			return
		}
		if cerr := w.rc.Control(func(epfd uintptr) {
			addErr = unix.EpollCtl(int(epfd), unix.EPOLL_CTL_ADD, n, &unix.EpollEvent{Events: events, Fd: int32(n)})
		}); cerr != nil {
			addErr = cerr
		}
	})
	if err != nil {
		return -1, os.ErrClosed
	}
	return n, os.NewSyscallError("epoll_ctl", addErr)
}

// wait returns those of the descriptors, at most max, that have an event.
func (w *watch) wait(ctx context.Context, max int) ([]int, error) {
	events := make([]unix.EpollEvent, max)
	var n int
	var werr error
	look := func(fd uintptr) bool {
		for {
			if n, werr = unix.EpollWait(int(fd), events, 0); werr != unix.EINTR {
				return n != 0 || werr != nil
			}
		}
	}
	if ctx.Err() != nil { // a deadline in the past wouldn't let it look
		var seen bool
		if err := w.rc.Control(func(fd uintptr) { seen = look(fd) }); err != nil || !seen {
			return nil, ctx.Err()
		}
	} else {
		stop := context.AfterFunc(ctx, func() { w.f.SetReadDeadline(past) })
		err := w.rc.Read(look)
		stop()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, ctx.Err()
		} else if err != nil {
			return nil, err
		}
	}
	if werr != nil {
		return nil, os.NewSyscallError("epoll_wait", werr)
	}
	fds := make([]int, n)
	for i := range fds {
		fds[i] = int(events[i].Fd)
	}
	return fds, nil
}
