package proc

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultWaitDelay is the time between SIGTERM and SIGKILL if [Cmd.WaitDelay] is
// not set.
const DefaultWaitDelay = 5 * time.Second

// Cmd says how a process is made. The zero value is useful. A Cmd is only read:
// it may be used again, and by several goroutines at once.
type Cmd struct {
	// Name names the process in errors; empty: the function's name.
	Name string

	// Env is the whole environment, "key=value"; nil: this process's own. The
	// last entry of a key counts.
	Env []string

	// Dir is the working directory; empty: this process's own.
	Dir string

	// Stdin, Stdout and Stderr are lent to the child. A nil Stdin is /dev/null;
	// nil Stdout and Stderr are this process's own.
	Stdin, Stdout, Stderr *os.File

	// Sys has further attributes for the kernel, for those who need them.
	// Ptrace can't be used. Pdeathsig is set to SIGKILL unless Detach is set or
	// it is given here.
	Sys *syscall.SysProcAttr

	// CPUs are the numbers of the CPUs that the child may run on, from 0; nil:
	// those of the spawner's thread, which are usually this process's own. The
	// child's Go runtime takes its GOMAXPROCS from them.
	CPUs []int

	// Detach lets the child live on when this process ends.
	Detach bool

	// WaitDelay is the time that the child has, from the SIGTERM that it gets
	// when Start's context ends, until SIGKILL; 0: DefaultWaitDelay.
	WaitDelay time.Duration
}

func (c *Cmd) delay() (time.Duration, error) {
	if c.WaitDelay < 0 {
		return 0, fmt.Errorf("WaitDelay is %v: want 0 (for %v) or more", c.WaitDelay, DefaultWaitDelay)
	}
	if c.WaitDelay == 0 {
		return DefaultWaitDelay, nil
	}
	return c.WaitDelay, nil
}

// environ returns the child's environment, with the mark.
func (c *Cmd) environ(mark string) ([]string, error) {
	env := c.Env
	if env == nil {
		env = os.Environ()
	}
	last := make(map[string]int, len(env)) // key: index of its last entry
	for i, kv := range env {
		if strings.IndexByte(kv, 0) >= 0 {
			return nil, fmt.Errorf("field Env[%d] is %q: it has a NUL byte", i, kv)
		}
		// A key may start with '=': no variable that matters, but it is kept.
		k := strings.IndexByte(kv[min(1, len(kv)):], '=')
		if k < 0 && c.Env == nil {
			continue // we got it so; nobody can ask for it
		}
		if k < 0 {
			return nil, fmt.Errorf("field Env[%d] is %q: want key=value", i, kv)
		}
		last[kv[:k+1]] = i
	}
	delete(last, envMark)
	out := make([]string, 0, len(last)+1)
	for _, i := range slices.Sorted(maps.Values(last)) {
		out = append(out, env[i])
	}
	return append(out, envMark+"="+mark), nil
}

// cpuSet returns the mask of CPUs, or nil.
func (c *Cmd) cpuSet() (*unix.CPUSet, error) {
	if c.CPUs == nil {
		return nil, nil
	}
	if len(c.CPUs) == 0 {
		return nil, errors.New("field CPUs is empty: want at least one CPU, or nil")
	}
	set := new(unix.CPUSet)
	limit := len(set) * bits.UintSize
	for _, cpu := range c.CPUs {
		if cpu < 0 || cpu >= limit {
			return nil, fmt.Errorf("CPUs has %d: want 0 to %d", cpu, limit-1)
		}
		set.Set(cpu)
	}
	return set, nil
}

// sysAttr returns the attributes for the kernel. pidfd receives the child's
// descriptor.
func (c *Cmd) sysAttr(pidfd *int) (*syscall.SysProcAttr, error) {
	var sys syscall.SysProcAttr
	if c.Sys != nil {
		sys = *c.Sys
	}
	if sys.Ptrace {
		return nil, errors.New("field Sys.Ptrace is set: the thread that starts processes can't trace them")
	}
	if sys.PidFD != nil {
		return nil, errors.New("field Sys.PidFD is set: use Process.SyscallConn")
	}
	if sys.Pdeathsig == 0 && !c.Detach {
		sys.Pdeathsig = syscall.SIGKILL
	}
	sys.PidFD = pidfd
	return &sys, nil
}

// stdio returns duplicates of the child's first three descriptors. Duplicates
// above 2, even of our own: if ours are closed, their numbers may be anything.
func (c *Cmd) stdio() (fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	for i, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		var fd int
		switch {
		case f != nil:
			if fd, err = dupConn(f); err != nil {
				return fds, fmt.Errorf("%s: %w", [...]string{"Stdin", "Stdout", "Stderr"}[i], err)
			}
		case i > 0:
			if fd, err = dup(i); err == nil {
				break
			}
			fallthrough // it is closed here: the child shall not miss it
		default:
			if fd, err = devNull(); err != nil {
				return fds, err
			}
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func devNull() (int, error) {
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: os.DevNull, Err: err}
		}
		return fd, nil
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
