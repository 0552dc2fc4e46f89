package mq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Queue is an open message queue. Any number of goroutines may call its methods
// at once, in any number of processes. The zero Queue is of no use but to
// [Queue.TakeFiles]. A Queue must not be copied.
type Queue struct {
	d    *descriptor // nil in a zero Queue
	size int         // bytes of the largest message
	in   receiver
	out  sender
}

var _ syscall.Conn = (*Queue)(nil)

// errZero is what the methods of a Queue say that is no queue's.
var errZero = fmt.Errorf("mq: a zero Queue, which nothing has opened: %w", os.ErrInvalid)

// A receiver is the receiving half; its fields belong to the holder of the
// line's turn. A sender likewise.
type receiver struct {
	line
	once func(fd uintptr) // attempt, leaving now
	now  bool

	buf  []byte
	n    int
	prio uint32
	err  error
}

type sender struct {
	line
	once func(fd uintptr)
	now  bool

	msg  []byte
	prio uint
	err  error
}

func (in *receiver) attempt(fd uintptr) bool {
	in.n, in.err = mqReceive(int(fd), in.buf, &in.prio)
	return in.err != unix.EAGAIN
}

func (out *sender) attempt(fd uintptr) bool {
	out.err = mqSend(int(fd), out.msg, out.prio)
	return out.err != unix.EAGAIN
}

// Send puts a message into the queue, behind all that have at least its
// priority: 0, the lowest, to 32767. It blocks while the queue is full.
//
// ctx ends the wait with ctx.Err(). As POSIX has it, a deadline that is already
// over matters only if Send would have to wait; a cancelled context sends
// nothing.
//
// Errors: ctx.Err(); EMSGSIZE for a message above the queue's size and EINVAL for
// a priority out of range, both with the limit; EBADF on a queue opened for
// receiving; [os.ErrClosed]. Any number of goroutines may call it at once.
func (q *Queue) Send(ctx context.Context, msg []byte, prio uint) error {
	if err := q.sendable(prio); err != nil {
		return err
	}
	if err := begin(ctx, &q.out.line); err != nil {
		return err
	}
	defer q.out.leave()
	raceRelease()
	q.out.msg, q.out.prio = msg, prio
	err := q.out.run(ctx)
	q.out.msg = nil
	if err != nil {
		return err
	}
	return q.sendError(q.out.err, len(msg))
}

// Recv takes the oldest message of the highest priority out of the queue and
// returns its size in bytes and its priority. It blocks while the queue is
// empty. buf must have room for the largest message that the queue takes
// ([Queue.Stat]), however small the one that comes.
//
// ctx ends the wait as it does for Send. Errors: ctx.Err(); EMSGSIZE if buf is too
// small (the message stays); EBADF on a queue opened for sending;
// [os.ErrClosed]. Any number of goroutines may call it at once.
func (q *Queue) Recv(ctx context.Context, buf []byte) (n int, prio uint, err error) {
	if err := q.ready(); err != nil {
		return 0, 0, err
	}
	if err := begin(ctx, &q.in.line); err != nil {
		return 0, 0, err
	}
	defer q.in.leave()
	q.in.buf = buf
	err = q.in.run(ctx)
	q.in.buf = nil
	if err != nil {
		return 0, 0, err
	}
	if q.in.err != nil {
		return 0, 0, q.recvError(q.in.err, len(buf))
	}
	raceAcquire()
	return q.in.n, uint(q.in.prio), nil
}

// TrySend is [Queue.Send] if there is room, and false if not. It never blocks.
func (q *Queue) TrySend(msg []byte, prio uint) (bool, error) {
	if err := q.sendable(prio); err != nil {
		return false, err
	}
	raceRelease()
	out := &q.out
	if out.tryEnter() {
		defer out.leave()
	} else { // another is at it, perhaps for long
		out = new(sender)
		out.once = func(fd uintptr) { out.now = out.attempt(fd) }
	}
	out.msg, out.prio = msg, prio
	err := q.d.control(out.once)
	out.msg = nil
	if err != nil {
		return false, os.ErrClosed
	}
	if !out.now {
		return false, nil
	}
	err = q.sendError(out.err, len(msg))
	return err == nil, err
}

// TryRecv is [Queue.Recv] if there is a message, and ok is false if not. It never
// blocks.
func (q *Queue) TryRecv(buf []byte) (n int, prio uint, ok bool, err error) {
	if err := q.ready(); err != nil {
		return 0, 0, false, err
	}
	in := &q.in
	if in.tryEnter() {
		defer in.leave()
	} else {
		in = new(receiver)
		in.once = func(fd uintptr) { in.now = in.attempt(fd) }
	}
	in.buf = buf
	err = q.d.control(in.once)
	in.buf = nil
	switch {
	case err != nil:
		return 0, 0, false, os.ErrClosed
	case !in.now:
		return 0, 0, false, nil
	case in.err != nil:
		return 0, 0, false, q.recvError(in.err, len(buf))
	}
	raceAcquire()
	return in.n, uint(in.prio), true, nil
}

// mustHave panics for a nil context, before anything is taken or made for it.
func mustHave(ctx context.Context) {
	if ctx == nil {
		panic("mq: nil context")
	}
}

// begin makes the caller the one that uses the line.
func begin(ctx context.Context, l *line) error {
	mustHave(ctx)
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return l.enter(ctx)
}

func (q *Queue) ready() error {
	switch {
	case q.d == nil:
		return errZero
	case q.d.closed():
		return os.ErrClosed
	}
	return nil
}

func (q *Queue) sendable(prio uint) error {
	if err := q.ready(); err != nil {
		return err
	}
	if prio > maxPrio {
		return fmt.Errorf("mq: priority %d, at most %d: %w", prio, maxPrio, os.NewSyscallError("mq_timedsend", unix.EINVAL))
	}
	return nil
}

func (q *Queue) sendError(err error, size int) error {
	if err == nil {
		return nil
	}
	err = os.NewSyscallError("mq_timedsend", err)
	if errors.Is(err, unix.EMSGSIZE) {
		return fmt.Errorf("mq: message of %d bytes, the queue takes %d (Attr.MessageSize, up to sysctl fs.mqueue.msgsize_max): %w", size, q.size, err)
	}
	if errors.Is(err, unix.EBADF) {
		return fmt.Errorf("mq: Send on a Queue that is open for receiving only: %w", err)
	}
	return err
}

func (q *Queue) recvError(err error, size int) error {
	err = os.NewSyscallError("mq_timedreceive", err)
	if errors.Is(err, unix.EMSGSIZE) {
		return fmt.Errorf("mq: buffer of %d bytes, a message of this queue may have %d: %w", size, q.size, err)
	}
	if errors.Is(err, unix.EBADF) {
		return fmt.Errorf("mq: Recv on a Queue that is open for sending only: %w", err)
	}
	return err
}

// A Stat is the state of a queue at one moment.
type Stat struct {
	MaxMessages int // that the queue holds
	MessageSize int // bytes of the largest message
	Messages    int // that are in the queue now
}

// Stat returns the queue's sizes and how many messages are in it.
func (q *Queue) Stat() (Stat, error) {
	if err := q.ready(); err != nil {
		return Stat{}, err
	}
	var a kernelAttr
	var err error
	if q.d.control(func(fd uintptr) { a, err = mqGetAttr(int(fd)) }) != nil {
		return Stat{}, os.ErrClosed
	}
	if err != nil {
		return Stat{}, os.NewSyscallError("mq_getsetattr", err)
	}
	return Stat{a.maxmsg, a.msgsize, a.curmsgs}, nil
}

// SyscallConn gives access to the descriptor, which is pollable.
func (q *Queue) SyscallConn() (syscall.RawConn, error) {
	if err := q.ready(); err != nil {
		return nil, err
	}
	return rawConn{q.d}, nil
}

// Close closes the descriptor; the queue itself stays until it is unlinked.
// Calls that are blocked in it return [os.ErrClosed], and so does every later
// call, also a second Close.
func (q *Queue) Close() error {
	if q.d == nil {
		return errZero
	}
	return q.d.close(&q.in.line, &q.out.line)
}
