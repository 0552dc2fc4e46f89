package proc

import (
	"context"
	"errors"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var errTerminated = errors.New("proc: SIGTERM received")

// termination is a function's context, which SIGTERM cancels. To watch for a
// signal takes the runtime a thread, which many functions have no use for: the
// watch begins when somebody looks at the context for the first time. The parent
// is told then, and holds a SIGTERM back until it is: see [Process.terminate].
type termination struct {
	context.Context // never looked at but by the methods below
	cancel          context.CancelCauseFunc
	once            sync.Once
	hello           unix.Stat_t // what fdHello was
}

func newTermination() *termination {
	t := &termination{}
	t.Context, t.cancel = context.WithCancelCause(context.Background())
	unix.Fstat(fdHello, &t.hello)
	// A function may wait for nothing but to be killed. Without a timer, and as
	// nobody waits for a signal, the runtime would call that a deadlock.
	time.AfterFunc(math.MaxInt64, func() {})
	return t
}

func (t *termination) Done() <-chan struct{} {
	t.once.Do(t.watch)
	return t.Context.Done()
}

func (t *termination) Err() error {
	t.once.Do(t.watch)
	return t.Context.Err()
}

func (t *termination) Value(key any) any {
	t.once.Do(t.watch) // context.Cause looks here
	return t.Context.Value(key)
}

func (t *termination) watch() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	go func() {
		<-c
		t.cancel(errTerminated)
	}()
	// The function may have closed descriptors that it does not know.
	var st unix.Stat_t
	if unix.Fstat(fdHello, &st) == nil && st.Dev == t.hello.Dev && st.Ino == t.hello.Ino {
		sayHello(helloTerm, "")
		unix.Close(fdHello)
	}
}

// keepHello keeps r for what the child says later. It returns what is not needed.
func (p *Process) keepHello(r *os.File) *os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting = false
	if p.gone {
		return r
	}
	r.SetReadDeadline(time.Time{})
	p.hello = r
	if p.held {
		go p.deliver(r)
	}
	return nil
}

// terminate sends SIGTERM if the child watches for it, and puts it off until
// then if it does not yet: before, it would end the process, and nobody could
// say whether it was too early. p.mu is held.
func (p *Process) terminate(cause error) error {
	switch {
	case p.starting:
		p.held = true
	case p.hello != nil && !p.held && !heard(p.hello):
		p.held = true
		go p.deliver(p.hello)
	}
	if p.held {
		if cause != nil {
			p.cause = cause
		}
		return nil
	}
	return p.send(syscall.SIGTERM, cause)
}

// heard reports whether the child watches for SIGTERM: it has said so, or has
// become another program.
func heard(hello *os.File) bool {
	rc, err := hello.SyscallConn()
	if err != nil {
		return true
	}
	var n int
	rc.Read(func(fd uintptr) bool {
		for {
			if n, err = unix.Read(int(fd), make([]byte, 1)); err != unix.EINTR {
				return true
			}
		}
	})
	return n > 0 || err == nil
}

// deliver sends the SIGTERM that was put off. It ends with the process: then
// hello is closed.
func (p *Process) deliver(hello *os.File) {
	_, err := hello.Read(make([]byte, 1))
	if errors.Is(err, os.ErrClosed) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	if p.hello != nil {
		p.hello.Close()
		p.hello = nil
	}
	if !p.reaped && !p.released {
		p.send(syscall.SIGTERM, nil)
	}
}
