package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// A path is one way for messages between two processes.
type path struct {
	name string
	impl string // whose code moves the message: "rawipc", "net", "kernel" (bare system calls)

	// max is the largest message, 0 without limit. A path with fixed has no
	// payload but carries that many bytes: a signal.
	max, fixed int

	// calls is true for a path that only goes there and back.
	calls bool

	// spins says that both sides look before they sleep, so that the CPUs must
	// be two. With needsTwo they can do nothing else.
	spins, needsTwo bool

	// c and python name the peers that it is compared with.
	c, python string

	// open starts the path; nil is newSession. A peer has its own.
	open func(context.Context, placement) (runner, error)

	// make makes the two sides; b is nil if a does everything.
	make func() (a, b *link, err error)
}

// sizesOf chooses those of the wanted sizes that the path can carry.
func (p *path) sizesOf(wanted []int) (sizes []int) {
	if p.fixed > 0 {
		return []int{p.fixed}
	}
	for _, n := range wanted {
		if p.max == 0 || n <= p.max {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

// start starts the processes. ctx ends them.
func (p *path) start(ctx context.Context, pl placement) (runner, error) {
	if p.open != nil {
		return p.open(ctx, pl)
	}
	s, err := newSession(ctx, p, pl)
	if err != nil {
		return nil, err // a nil *session is no nil runner
	}
	return s, nil
}

const ringCap = 4 << 20

var paths = []*path{
	{name: "shm.Ring", impl: "rawipc", c: "C ring", python: "Python Pipe", spins: true, max: ringCap - 8, make: func() (*link, *link, error) { return ringLinks(0) }},
	{name: "shm.Ring-sleep", impl: "rawipc", c: "C ring-sleep", python: "Python Pipe", max: ringCap - 8, make: func() (*link, *link, error) { return ringLinks(-1) }},
	{name: "futex.Word", impl: "rawipc", c: "C futex", python: "Python Semaphore", fixed: 4, make: wordLinks},
	{name: "pipe.OneWay", impl: "rawipc", c: "C pipe", python: "Python Pipe", make: onewayLinks},
	{name: "pipe.FIFO", impl: "rawipc", c: "C pipe", python: "Python Pipe", make: fifoLinks},
	{name: "pipe.Pair", impl: "rawipc", c: "C stream", python: "Python Pipe", make: func() (*link, *link, error) { return connLinks(pipe.Pair()) }},
	{name: "pipe.PacketPair", impl: "rawipc", c: "C seqpacket", python: "Python Pipe", max: 64 << 10, make: func() (*link, *link, error) { return connLinks(pipe.PacketPair()) }},
	{name: "socketpair-dgram", impl: "kernel", c: "C dgram", python: "Python Pipe", max: 64 << 10, make: dgramLinks},
	{name: "unix-socket", impl: "net", c: "C stream", python: "Python Pipe", make: func() (*link, *link, error) {
		dir, err := os.MkdirTemp("", "rawipc-bench")
		if err != nil {
			return nil, nil, err
		}
		defer os.RemoveAll(dir)
		return netLinks("unix", filepath.Join(dir, "socket"))
	}},
	{name: "tcp-loopback", impl: "net", c: "C tcp", python: "Python Pipe", make: func() (*link, *link, error) { return netLinks("tcp", "127.0.0.1:0") }},
	{name: "mq.Queue", impl: "rawipc", c: "C mq", python: "Python Queue", max: 8192, make: queueLinks},
	{name: "eventfd", impl: "kernel", c: "C eventfd", python: "Python Semaphore", fixed: 8, make: eventLinks},
	{name: "pool.Call", impl: "rawipc", c: "C ring", python: "Python Pool", calls: true, make: func() (*link, *link, error) { return &link{Kind: "pool"}, nil, nil }},
}

func ringLinks(spin time.Duration) (a, b *link, err error) {
	a, b = &link{Kind: "ring", Spin: spin}, &link{Kind: "ring", Spin: spin}
	if a.RingOut, b.RingIn, err = shm.NewRing(ringCap); err == nil {
		b.RingOut, a.RingIn, err = shm.NewRing(ringCap)
	}
	return links(a, b, err)
}

// links closes both sides if one could not be made.
func links(a, b *link, err error) (*link, *link, error) {
	if err != nil {
		a.close()
		b.close()
		return nil, nil, err
	}
	return a, b, nil
}

func wordLinks() (a, b *link, err error) {
	a, b = &link{Kind: "words", First: true}, &link{Kind: "words"}
	if a.Words, err = shm.New[words](nil); err == nil {
		b.Words = a.Words // lent to both
	}
	return links(a, b, err)
}

func connLinks(x, y *pipe.Conn, err error) (*link, *link, error) {
	return links(&link{Kind: "conn", Out: x, In: x}, &link{Kind: "conn", Out: y, In: y}, err)
}

func onewayLinks() (a, b *link, err error) {
	a, b = &link{Kind: "conn"}, &link{Kind: "conn"}
	if b.In, a.Out, err = pipe.OneWay(); err == nil {
		a.In, b.Out, err = pipe.OneWay()
	}
	return links(a, b, err)
}

func fifoLinks() (a, b *link, err error) {
	a, b = &link{Kind: "conn"}, &link{Kind: "conn"}
	if b.In, a.Out, err = fifo(); err == nil {
		a.In, b.Out, err = fifo()
	}
	return links(a, b, err)
}

// fifo opens both ends of a named pipe, whose name is gone when it returns.
func fifo() (r, w *pipe.Conn, err error) {
	dir, err := os.MkdirTemp("", "rawipc-bench")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "fifo")
	if err := pipe.Mkfifo(name, 0o600); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	opened := make(chan error, 1)
	go func() {
		var err error
		w, err = pipe.OpenFIFO(ctx, name, os.O_WRONLY)
		opened <- err
	}()
	r, err = pipe.OpenFIFO(ctx, name, os.O_RDONLY)
	if err2 := <-opened; err == nil {
		err = err2
	}
	return r, w, err
}

func dgramLinks() (a, b *link, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	x, y := os.NewFile(uintptr(fds[0]), "dgram"), os.NewFile(uintptr(fds[1]), "dgram")
	return &link{Kind: "raw", FileOut: x, FileIn: x}, &link{Kind: "raw", FileOut: y, FileIn: y}, nil
}

func netLinks(network, address string) (a, b *link, err error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	a, b = &link{Kind: "net"}, &link{Kind: "net"}
	dialled := make(chan error, 1)
	go func() {
		c, err := net.DialTimeout(network, l.Addr().String(), 10*time.Second)
		if err == nil {
			a.FileOut, err = fileOf(c)
		} else {
			l.Close() // ends Accept
		}
		dialled <- err
	}()
	c, err := l.Accept()
	if err == nil {
		b.FileOut, err = fileOf(c)
	}
	if err2 := <-dialled; err2 != nil {
		err = err2
	}
	return links(a, b, err)
}

func fileOf(c net.Conn) (*os.File, error) {
	defer c.Close()
	f, ok := c.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("bench: %T has no file", c)
	}
	return f.File()
}

func queueLinks() (a, b *link, err error) {
	a, b = &link{Kind: "mq"}, &link{Kind: "mq"}
	if b.QueueIn, err = queue("there"); err == nil {
		a.QueueIn, err = queue("back")
	}
	a.QueueOut, b.QueueOut = b.QueueIn, a.QueueIn // lent to both
	return links(a, b, err)
}

// queue makes a message queue whose name is gone when it returns.
func queue(label string) (*mq.Queue, error) {
	name := fmt.Sprintf("/rawipc-bench-%d-%s", os.Getpid(), label)
	q, err := mq.Create(name, nil)
	if err != nil {
		return nil, err
	}
	return q, mq.Unlink(name)
}

func eventLinks() (a, b *link, err error) {
	var files [2]*os.File
	for i := range files {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return nil, nil, os.NewSyscallError("eventfd", err)
		}
		files[i] = os.NewFile(uintptr(fd), "eventfd")
	}
	return &link{Kind: "eventfd", FileOut: files[0], FileIn: files[1]},
		&link{Kind: "eventfd", FileOut: files[1], FileIn: files[0]}, nil
}
