package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"structs"
	"sync/atomic"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/pool"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// This file has the ends of each path: what one process sends and receives with.

var bg = context.Background()

// short is the error for a message of another size than was sent.
func short(got, want int) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("bench: a message of %d bytes, want %d", got, want)
}

type ringEnd struct {
	out *shm.RingWriter
	in  *shm.RingReader
}

func (e ringEnd) send(msg []byte) error { return e.out.Send(bg, msg) }

func (e ringEnd) recv(buf []byte) error {
	n, err := e.in.Recv(bg, buf)
	if err != nil {
		return err
	}
	return short(n, len(buf))
}

// words are one word for each direction, on cache lines of their own.
type words struct {
	_ structs.HostLayout
	A atomic.Uint32
	_ [124]byte
	B atomic.Uint32
	_ [124]byte
}

// wordEnd is what two processes can say with a futex and nothing else: each
// counts its own word up and wakes the other one.
type wordEnd struct {
	out, in *atomic.Uint32
	seen    uint32
}

func (e *wordEnd) send([]byte) error {
	e.out.Add(1)
	_, err := futex.Wake(e.out, 1)
	return err
}

func (e *wordEnd) recv([]byte) error {
	for e.in.Load() == e.seen {
		if err := futex.Wait(e.in, e.seen); err != nil {
			return err
		}
	}
	e.seen++
	return nil
}

type connEnd struct{ out, in *pipe.Conn }

func (e connEnd) send(msg []byte) error { return e.out.Send(bg, msg) }

func (e connEnd) recv(buf []byte) error {
	n, err := e.in.Recv(bg, buf)
	if err != nil {
		return err
	}
	return short(n, len(buf))
}

type queueEnd struct {
	out, in *mq.Queue
	buf     []byte // the kernel wants room for the largest message
}

func (e *queueEnd) send(msg []byte) error { return e.out.Send(bg, msg, 0) }

func (e *queueEnd) recv(buf []byte) error {
	n, _, err := e.in.Recv(bg, e.buf)
	if err != nil {
		return err
	}
	copy(buf, e.buf[:n])
	return short(n, len(buf))
}

// rawEnd is blocking read(2) and write(2), with nothing round them. It holds on
// to the link, whose files the garbage collector would close.
type rawEnd struct {
	out, in int
	l       *link
}

func newRawEnd(l *link) rawEnd { return rawEnd{int(l.FileOut.Fd()), int(l.FileIn.Fd()), l} }

func (e rawEnd) send(msg []byte) error {
	for {
		n, err := unix.Write(e.out, msg)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		return short(n, len(msg))
	}
}

func (e rawEnd) recv(buf []byte) error {
	for {
		n, err := unix.Read(e.in, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		return short(n, len(buf))
	}
}

// eventEnd adds one to a counter and waits for one in the other.
type eventEnd struct {
	rawEnd
	one, got [8]byte
}

func (e *eventEnd) send([]byte) error {
	binary.NativeEndian.PutUint64(e.one[:], 1)
	return e.rawEnd.send(e.one[:])
}

func (e *eventEnd) recv([]byte) error { return e.rawEnd.recv(e.got[:]) }

type netEnd struct{ c net.Conn }

func (e netEnd) send(msg []byte) error { _, err := e.c.Write(msg); return err }
func (e netEnd) recv(buf []byte) error { _, err := io.ReadFull(e.c, buf); return err }

var (
	echo      = pool.Register("echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	workerPid = pool.Register("pid", func(context.Context, struct{}) (int, error) { return pidOfThis(), nil })
	workerCPU = pool.Register("cpu", func(context.Context, struct{}) (int64, error) { return cpuTime(), nil })
)

// poolEnd is a whole call: send makes it, recv finds the result there.
type poolEnd struct {
	p      *pool.Pool
	result []byte
}

func newPoolEnd(cpus []int) (end, error) {
	p, err := pool.New(&pool.Config{Workers: 1, CPUs: cpus})
	return &poolEnd{p: p}, err
}

func (e *poolEnd) send(msg []byte) (err error) {
	e.result, err = echo.Call(bg, e.p, msg)
	return err
}

func (e *poolEnd) recv(buf []byte) error { return short(len(e.result), len(buf)) }
