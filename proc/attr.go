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

// This file makes of a Cmd what the kernel is asked for.

func (c *Cmd) delay() (time.Duration, error) {
	if c.WaitDelay < 0 {
		return 0, fmt.Errorf("WaitDelay is %v: want 0 (for %v) or more", c.WaitDelay, DefaultWaitDelay)
	}
	if c.WaitDelay == 0 {
		return DefaultWaitDelay, nil
	}
	return c.WaitDelay, nil
}

// environ returns the child's environment without the mark, and with own, which
// take the place of entries with the same key.
func (c *Cmd) environ(own []string) ([]string, error) {
	env := c.Env
	if env == nil {
		env = os.Environ()
	}
	last := make(map[string]int, len(env)+len(own)) // key: index of its last entry
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
	for _, kv := range own {
		k, _, _ := strings.Cut(kv, "=")
		delete(last, k)
	}
	out := make([]string, 0, len(last)+len(own))
	for _, i := range slices.Sorted(maps.Values(last)) {
		out = append(out, env[i])
	}
	return append(out, own...), nil
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
	if c.Tree && !sys.UseCgroupFD {
		sys.Cloneflags |= unix.CLONE_NEWPID
	}
	sys.PidFD = pidfd
	return &sys, nil
}
