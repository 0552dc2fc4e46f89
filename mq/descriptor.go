package mq

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A descriptor is one that Go's netpoller doesn't have.
//
// What is in the poller is watched by an epoll instance, and for a watched
// descriptor the kernel tells that instance of every message and of every room,
// though nobody waits there. On one CPU (C that reads, writes and yields, with
// and without) that is 0.09 µs of the 0.22 that a write of 64 bytes to a pipe
// takes, and 0.17 µs of a round trip's 4.0; of a packet's round trip 0.5 of 7.0,
// of a queue's 0.4 of 5.2. So descriptors stay out until somebody has to wait;
// see line.go.
type descriptor struct {
	fd    int
	users atomic.Int64  // those who use fd now without a line's turn; and closing
	idle  chan struct{} // has a word if the last of them went after closing

	mu      sync.Mutex
	f       *os.File // owns fd, once somebody has asked for it
	cleanup runtime.Cleanup
}

const closing = 1 << 62

// startPoller has the runtime make its poller, as the first timer does. It needs
// descriptors: were there none left when somebody first waits, the runtime would
// end the program.
var startPoller = sync.OnceFunc(func() { time.AfterFunc(time.Hour, func() {}).Stop() })

// newDescriptor takes ownership of fd.
func newDescriptor(fd int) *descriptor {
	startPoller()
	d := &descriptor{fd: fd, idle: make(chan struct{}, 1)}
	d.cleanup = runtime.AddCleanup(d, func(fd int) { unix.Close(fd) }, fd)
	return d
}

// acquire lets the caller use fd until release; false if it is being closed.
func (d *descriptor) acquire() bool {
	if d.users.Add(1) < closing {
		return true
	}
	d.release()
	return false
}

func (d *descriptor) release() {
	if d.users.Add(-1) == closing {
		select {
		case d.idle <- struct{}{}:
		default: // it has a word already
		}
	}
}

// closed says whether it is closed, or about to be.
func (d *descriptor) closed() bool { return d.users.Load() >= closing }

// control runs f while fd can't be closed.
func (d *descriptor) control(f func(fd uintptr)) error {
	if !d.acquire() {
		return os.ErrClosed
	}
	defer d.release()
	f(uintptr(d.fd))
	return nil
}

// file returns fd as a file, for others to use. It is in the poller from then
// on.
func (d *descriptor) file() (*os.File, error) {
	if !d.acquire() {
		return nil, os.ErrClosed
	}
	defer d.release()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.f == nil {
		d.cleanup.Stop()
		d.f = os.NewFile(uintptr(d.fd), "rawipc")
	}
	return d.f, nil
}

// close ends what waits in the lines and closes fd when nobody uses it any
// more: a moment, as all who use it look, or have been told to leave.
//
// Who has a line's turn uses fd without being counted, so close takes each turn
// once: who had it before has done, and who gets it later sees closing. So the
// holder of a turn must neither call close nor run code of the user.
func (d *descriptor) close(lines ...*line) error {
	if d.users.Or(closing) >= closing {
		return os.ErrClosed
	}
	for _, l := range lines {
		l.evict()
	}
	for d.users.Load() != closing {
		<-d.idle
	}
	for _, l := range lines {
		_ = l.enter(context.Background())
		if l.epoll != nil {
			l.epoll.Close()
		}
		l.leave()
	}
	if d.f != nil {
		return d.f.Close()
	}
	d.cleanup.Stop()
	err := unix.Close(d.fd)
	runtime.KeepAlive(d) // or the cleanup might close it, too
	return os.NewSyscallError("close", err)
}

// A rawConn is what others get of a descriptor.
type rawConn struct{ d *descriptor }

var _ syscall.RawConn = rawConn{}

func (r rawConn) Control(f func(fd uintptr)) error { return r.d.control(f) }

func (r rawConn) Read(f func(fd uintptr) bool) error {
	rc, err := r.polled()
	if err != nil {
		return err
	}
	return rc.Read(f)
}

func (r rawConn) Write(f func(fd uintptr) bool) error {
	rc, err := r.polled()
	if err != nil {
		return err
	}
	return rc.Write(f)
}

func (r rawConn) polled() (syscall.RawConn, error) {
	f, err := r.d.file()
	if err != nil {
		return nil, err
	}
	return f.SyscallConn()
}
