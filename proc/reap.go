package proc

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// reap waits for the child, takes its status and closes p.done; woken is called
// then. It waits for this child only: the statuses of children that were started
// by os/exec are not touched.
func (p *Process) reap(woken func()) {
	err := p.awaitPidfd()
	if refused(err) {
		err = p.awaitPid()
	}
	if p.stop != nil {
		p.stop()
	}
	p.conclude(err)
	p.forget()
	children.remove(p)
	close(p.done)
	woken()
}

// awaitPidfd waits in the netpoller. The error is one that refused knows if that
// can't be done here.
func (p *Process) awaitPidfd() error {
	if p.pidfd == nil || !kernel.waitPidfd.Load() {
		return unix.ENOSYS
	}
	var werr error
	err := p.rc.Read(func(fd uintptr) bool {
		var ended bool
		ended, werr = p.collect(unix.P_PIDFD, int(fd))
		return ended || werr != nil
	})
	if err != nil {
		return unix.ENOSYS // the netpoller has no room for it
	}
	return werr
}

// awaitPid waits in a thread. It leaves the child as it is, so that the number
// stays its own until collect takes it away under the mutex.
func (p *Process) awaitPid() error {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			p.mu.Lock()
			p.reaped = true
			p.mu.Unlock()
			return err
		}
	}
	_, err := p.collect(unix.P_PID, p.pid)
	return err
}

// collect reaps the child if it has ended, and reports whether it has.
func (p *Process) collect(idType, id int) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var info unix.Siginfo
	var usage unix.Rusage
	err := unix.Waitid(idType, id, &info, unix.WEXITED|unix.WNOHANG, &usage)
	if err == unix.EINTR {
		return false, nil
	}
	if err != nil {
		// Anything but a refusal means that there is no such child (any more).
		p.reaped = !refused(err)
		return false, err
	}
	pid, status := childOf(&info)
	if pid == 0 {
		return false, nil
	}
	p.reaped = true
	p.state = newState(&info, status, &usage)
	return true, nil
}

// conclude makes the answer of Wait.
func (p *Process) conclude(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fell()
	p.gone = true
	p.hello.Close() // nil is fine
	p.hello = nil
	switch {
	case err != nil:
		p.err = &lostError{p.label(), os.NewSyscallError("waitid", err)}
	case !p.state.Success():
		p.state.oom = p.state.signal == unix.SIGKILL && !p.killed && p.memory.rose()
		msg, crash := readReport(p.report)
		crash = explain(crash)
		p.err = &ExitError{State: p.state, Name: p.name, Pid: p.pid, Msg: msg, Crash: crash, Cause: p.cause}
	}
}

func (p *Process) label() string { return p.name + " (pid " + strconv.Itoa(p.pid) + ")" }

// lostError says that the child's status can't be had.
type lostError struct {
	label string
	err   error
}

func (e *lostError) Error() string {
	return "proc: the exit status of " + e.label + " is lost, as if someone else had waited for it: " + e.err.Error()
}

func (e *lostError) Unwrap() error { return e.err }
