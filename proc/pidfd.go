package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// PidFD is a descriptor of any process: it means that process for ever, also
// when it has ended and its number is another's. All methods may be called
// concurrently. After Close they return os.ErrClosed, and os.ErrProcessDone is
// what they return of a process that is gone.
type PidFD struct {
	pid int
	f   *os.File
	rc  syscall.RawConn
}

// OpenPidFD opens a descriptor of the process pid. Whether that is the process
// that was meant, the caller has to know: by a look at something of it after the
// call, or because it is a child that was not waited for. It does not block. The
// error is os.ErrProcessDone if there is none, and errors.ErrUnsupported before
// Linux 5.3, and where a container's filter refuses the call.
func OpenPidFD(pid int) (*PidFD, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.EPERM { // no kernel says so, but filters that don't know the call
		return nil, fmt.Errorf("proc: process %d: %w: %w", pid, os.NewSyscallError("pidfd_open", err), errors.ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("proc: process %d: %w", pid, gone("pidfd_open", err))
	}
	return newPidFD(pid, fd), nil
}

func newPidFD(pid, fd int) *PidFD {
	unix.SetNonblock(fd, true) // for the netpoller
	f := &PidFD{pid: pid, f: os.NewFile(uintptr(fd), "pidfd")}
	f.rc, _ = f.f.SyscallConn()
	return f
}

// gone is NewSyscallError, but for a process that is no more.
func gone(op string, err error) error {
	if err == unix.ESRCH {
		return os.ErrProcessDone
	}
	return os.NewSyscallError(op, err)
}

// Pid returns the number that OpenPidFD was given.
func (f *PidFD) Pid() int { return f.pid }

// Signal sends sig. It does not block.
func (f *PidFD) Signal(sig syscall.Signal) error {
	var err error
	if f.rc.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), sig, nil, 0) }) != nil {
		return os.ErrClosed
	}
	return gone("pidfd_send_signal", err)
}

// Wait blocks until the process has ended, in the netpoller, or until ctx ends;
// then the error is ctx.Err(). Of a child of this process that nobody has waited
// for it returns how it ended, and leaves that for the one who will. Of others
// the kernel does not say: then neither [State.Success] nor any cause is
// reported, and the state's text says so.
func (f *PidFD) Wait(ctx context.Context) (*State, error) {
	mustHave(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// A deadline is the descriptor's, so each Wait has one of its own.
	fd, err := dupConn(f.f)
	if err != nil {
		return nil, err
	}
	w := os.NewFile(uintptr(fd), "pidfd")
	defer w.Close()
	rc, err := w.SyscallConn()
	if err != nil {
		return nil, err
	}
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { w.SetReadDeadline(past) })()
	}
	var state *State
	var werr error
	err = rc.Read(func(fd uintptr) bool {
		if !readable(int(fd)) {
			return false
		}
		state, werr = peek(int(fd))
		return true
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return state, werr
}

// readable reports whether a pidfd's process has ended.
func readable(fd int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// peek looks at the state of a process that has ended.
func peek(fd int) (*State, error) {
	var info unix.Siginfo
	var usage unix.Rusage
	for {
		err := unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, &usage)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD || err == unix.EINVAL: // no child of ours; before Linux 5.4
			return &State{code: -1, unknown: true}, nil
		case err != nil:
			return nil, os.NewSyscallError("waitid", err)
		}
		pid, status := childOf(&info)
		if pid == 0 {
			return &State{code: -1, unknown: true}, nil
		}
		return newState(&info, status, &usage), nil
	}
}

// GetFile returns a duplicate of the process's descriptor number fd: the open
// file is the same, whatever becomes of theirs. It does not block. This process
// needs the right to trace the other one: os.ErrPermission else. A number that
// is not open there is EBADF. It needs Linux 5.6.
func (f *PidFD) GetFile(fd int) (*os.File, error) {
	got := -1
	var err error
	if f.rc.Control(func(raw uintptr) { got, err = unix.PidfdGetfd(int(raw), fd, 0) }) != nil {
		return nil, os.ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("proc: descriptor %d of process %d: %w", fd, f.pid, gone("pidfd_getfd", err))
	}
	return os.NewFile(uintptr(got), fmt.Sprintf("/proc/%d/fd/%d", f.pid, fd)), nil
}

// SyscallConn returns the descriptor for those who wait on several: it becomes
// readable when the process ends, and stays so.
func (f *PidFD) SyscallConn() (syscall.RawConn, error) { return f.f.SyscallConn() }

// Close gives the descriptor back. What waits goes on waiting.
func (f *PidFD) Close() error { return f.f.Close() }
