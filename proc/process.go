package proc

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a child of this process. All methods may be called concurrently.
type Process struct {
	path  string // of a program
	name  string
	pid   int
	delay time.Duration
	done  chan struct{} // closed when the process has ended and was reaped
	stop  func() bool   // ends the watch over Start's context; nil: none
	keep  bool          // guarded by mu: SyscallConn was asked for

	pidfd  *os.File // nil: the kernel gave none
	rc     syscall.RawConn
	report int      // memfd; the reaper's
	cgroup *os.File // its cgroup.kill, if it is a tree; the reaper's
	memory oomCount // the reaper's

	// mu orders signals against the reaping: once the child is reaped its pid may
	// be another's.
	mu       sync.Mutex
	reaped   bool
	released bool
	killed   bool // by our SIGKILL
	starting bool // a function that has not said hello
	held     bool // a SIGTERM waits for the child to watch for it
	gone     bool // the reaper has closed what p holds
	hello    *os.File
	cause    error // why Start's context ended, if that ended the process

	// Set before done is closed.
	state *State
	err   error
}

// adopt takes ownership of the child's pidfd, or of -1.
func (p *Process) adopt(fd int) {
	if fd < 0 {
		return
	}
	// Non-blocking makes os.NewFile put it into the netpoller, where waiting
	// for it holds no thread.
	unix.SetNonblock(fd, true)
	p.pidfd = os.NewFile(uintptr(fd), "pidfd")
	p.rc, _ = p.pidfd.SyscallConn()
}

// govern ends the process when ctx ends.
func (p *Process) govern(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	p.stop = context.AfterFunc(ctx, func() {
		if p.signal(syscall.SIGTERM, context.Cause(ctx)) != nil {
			return
		}
		t := time.NewTimer(p.delay)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
			p.Kill()
		}
	})
}

// Wait blocks until the process has ended. It returns the state and nil if the
// process exited with status 0, and the state and an [*ExitError] if it ended in
// any other way. If ctx ends first, only the waiting ends: the state is nil and
// the error is ctx.Err().
//
// All callers get the same answer, now or later. Wait gives the process's
// descriptor back, unless [Process.SyscallConn] was called. After
// [Process.Release] the error is os.ErrClosed.
func (p *Process) Wait(ctx context.Context) (*State, error) {
	select {
	case <-p.done:
	default:
		mustHave(ctx)
		select {
		case <-p.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil, os.ErrClosed
	}
	if !p.keep && p.pidfd != nil {
		p.pidfd.Close()
	}
	return p.outcome()
}

// outcome is what Wait returns; p.done is closed.
func (p *Process) outcome() (*State, error) { return p.state, p.err }

// Done returns a channel that is closed when the process has ended. It does not
// block.
func (p *Process) Done() <-chan struct{} { return p.done }

// Alive reports whether the process has not ended yet. A stopped process is
// alive.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Pid returns the process's number. It may be another process's once this one
// has ended.
func (p *Process) Pid() int { return p.pid }

// Name returns the name from [Cmd], or else the function's.
func (p *Process) Name() string { return p.name }

// Signal sends sig to the process and does not block. It reaches this process or
// none: never another one that got the same number later. The error is
// os.ErrProcessDone after the end, and os.ErrClosed after [Process.Release].
func (p *Process) Signal(sig syscall.Signal) error { return p.signal(sig, nil) }

// Terminate asks the process to end, by SIGTERM: it cancels the function's
// context. It does not wait, and errors are as Signal's.
//
// A function that has not yet looked at its context gets the signal as soon as it
// does, and one that never does not at all: that one takes [Process.Kill]. (A
// SIGTERM of others ends it, as any process that does not expect one.)
func (p *Process) Terminate() error { return p.signal(syscall.SIGTERM, nil) }

// Kill ends the process by SIGKILL, and a tree of [Cmd.Tree] with it. It does not
// wait, and errors are as Signal's.
func (p *Process) Kill() error { return p.signal(syscall.SIGKILL, nil) }

func (p *Process) signal(sig syscall.Signal, cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.released:
		return os.ErrClosed
	case p.reaped:
		return os.ErrProcessDone
	}
	if sig == unix.SIGTERM {
		return p.terminate(cause)
	}
	return p.send(sig, cause)
}

// send reaches the process, which is not reaped; p.mu is held.
func (p *Process) send(sig syscall.Signal, cause error) error {
	if sig == unix.SIGKILL {
		p.fell() // the process itself dies in any case, below
		p.killed = true
	}
	err := error(unix.ENOSYS)
	op := "pidfd_send_signal"
	if p.pidfd != nil && kernel.signalPidfd.Load() {
		if cerr := p.rc.Control(func(fd uintptr) {
			err = unix.PidfdSendSignal(int(fd), sig, nil, 0)
		}); cerr != nil {
			return cerr
		}
	}
	if err == unix.ENOSYS || err == unix.EPERM {
		// Not to be had, or not to be told from that: the child is not reaped
		// and can't be while we hold mu, so its number is its own.
		op, err = "kill", unix.Kill(p.pid, sig)
	}
	if err == nil && cause != nil {
		p.cause = cause
	}
	if err == unix.ESRCH {
		return os.ErrProcessDone
	}
	return os.NewSyscallError(op, err)
}

// SyscallConn returns the process's pidfd, which becomes readable when the
// process ends: for pipe.Select, or for anything else that waits on descriptors.
// Once it was called the descriptor stays open until [Process.Release]. The error
// is os.ErrClosed if it was given back before, and one that is
// errors.ErrUnsupported if the kernel gave none.
func (p *Process) SyscallConn() (syscall.RawConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil, os.ErrClosed
	}
	if p.pidfd == nil {
		return nil, os.NewSyscallError("pidfd_open", unix.ENOSYS)
	}
	p.keep = true
	return p.pidfd.SyscallConn()
}

// Release gives back what a process that has ended still holds; it is called
// for descriptors' sake, after [Process.SyscallConn], and harmless else. The
// other methods then return os.ErrClosed. It is an error to release a running
// process. A second call does nothing.
func (p *Process) Release() error {
	if p.Alive() {
		return errors.New("proc: Release of " + p.label() + ", which has not ended")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released = true
	if p.pidfd != nil {
		p.pidfd.Close()
	}
	return nil
}
