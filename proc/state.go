package proc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// State says how a process ended and what it used. It does not change.
type State struct {
	code   int
	signal syscall.Signal
	core   bool
	oom    bool
	usage  syscall.Rusage
	// The state of a process that is not our child has no more than that it
	// ended.
	unknown bool
}

// The codes of a siginfo for SIGCHLD.
const (
	cldExited = 1
	cldDumped = 3
)

func newState(info *unix.Siginfo, status int, u *unix.Rusage) *State {
	s := &State{
		code:  -1,
		usage: rusage(u),
	}
	if info.Code == cldExited {
		s.code = status
	} else {
		s.signal, s.core = syscall.Signal(status), info.Code == cldDumped
	}
	return s
}

// Success reports whether the process exited with status 0.
func (s *State) Success() bool { return s.code == 0 }

// ExitCode returns the exit status, or -1 if a signal ended the process.
func (s *State) ExitCode() int { return s.code }

// Signal returns the signal that ended the process, or 0.
func (s *State) Signal() syscall.Signal { return s.signal }

// CoreDumped reports whether the kernel wrote a core dump.
func (s *State) CoreDumped() bool { return s.core }

// UserTime returns the CPU time spent in the process and those of its children
// that it has waited for.
func (s *State) UserTime() time.Duration { return time.Duration(s.usage.Utime.Nano()) }

// SystemTime returns the CPU time spent in the kernel for them.
func (s *State) SystemTime() time.Duration { return time.Duration(s.usage.Stime.Nano()) }

// MaxRSS returns the largest resident size that one of them had, in bytes. The
// kernel lets a process start with the peak of the one that made it, so for a
// small child it is this process's.
func (s *State) MaxRSS() int64 { return int64(s.usage.Maxrss) << 10 }

// Rusage returns a copy of all that the kernel counted: see getrusage(2).
func (s *State) Rusage() *syscall.Rusage {
	u := s.usage
	return &u
}

// OOMKilled reports whether the kernel ended the process for want of memory: it
// was killed by a SIGKILL that was not sent through this package, and its memory
// cgroup (that of [Cmd.Sys], or else the one that this process was in at its
// first Start) has counted such a kill since the start. It is false where no
// such cgroup can be read.
func (s *State) OOMKilled() bool { return s.oom }

// String returns "exit status 1" or "signal: killed".
func (s *State) String() string {
	if s.unknown {
		return "ended, its exit status is its parent's"
	}
	if s.oom {
		return "signal: killed (out of memory)"
	}
	if s.signal == 0 {
		return "exit status " + strconv.Itoa(s.code)
	}
	if s.core {
		return "signal: " + s.signal.String() + " (core dumped)"
	}
	return "signal: " + s.signal.String()
}

// ExitError is a process's end other than with status 0.
type ExitError struct {
	State *State
	Name  string // the process's, see [Cmd]
	Pid   int

	// Msg is the text of the error that the function returned, if it did.
	Msg string

	// Crash is the runtime's text if a panic, in any goroutine, or another fatal
	// error ended the process: the message, then the stacks, 1 MiB at most. Up to
	// Go 1.26 the runtime keeps the message of a fatal error that is no panic
	// from the crash output (golang/go#76859): of those that a program can bring
	// about ("concurrent map writes", "stack overflow" and such) it is told from
	// the trace, unless this binary is position independent; of others Crash has
	// the stacks only.
	Crash []byte

	// Cause is why Start's context ended, if the process was told to end for
	// that: see context.Cause. The error does not unwrap to it, so that
	// errors.Is(err, context.Canceled) says: only the waiting ended.
	Cause error
}

// Error returns one line: who, how, and the message of the error or the crash.
func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "proc: %s (pid %d): %v", e.Name, e.Pid, e.State)
	if e.Cause != nil {
		fmt.Fprintf(&b, ", as its context ended: %v", e.Cause)
	}
	if e.Msg != "" {
		b.WriteString(": " + e.Msg)
	}
	switch line, _, _ := bytes.Cut(e.Crash, []byte{'\n'}); {
	case len(e.Crash) == 0:
	case len(line) == 0 || bytes.HasPrefix(line, []byte("goroutine ")):
		b.WriteString(": a fatal error: its message went to the process's standard error")
	default:
		b.WriteString(": " + string(line))
	}
	return b.String()
}

// rusage is the same structure under the standard library's name.
func rusage(u *unix.Rusage) syscall.Rusage {
	return syscall.Rusage{
		Utime: syscall.Timeval(u.Utime), Stime: syscall.Timeval(u.Stime), Maxrss: u.Maxrss,
		Ixrss: u.Ixrss, Idrss: u.Idrss, Isrss: u.Isrss, Minflt: u.Minflt, Majflt: u.Majflt, Nswap: u.Nswap,
		Inblock: u.Inblock, Oublock: u.Oublock, Msgsnd: u.Msgsnd, Msgrcv: u.Msgrcv,
		Nsignals: u.Nsignals, Nvcsw: u.Nvcsw, Nivcsw: u.Nivcsw,
	}
}
