package proc

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file has the one goroutine that makes all processes.

const self = "/proc/self/exe"

// spawnRequest is one process to be made by the spawner.
type spawnRequest struct {
	path string
	argv []string
	attr *syscall.ProcAttr // attr.Sys.PidFD is set
	cpus *unix.CPUSet      // or nil
	tree bool              // Cmd.Tree
	done chan struct{}     // closed when pid and err are set
	pid  int
	err  error
}

// spawner returns the queue of the one goroutine that makes processes. The
// kernel sends PR_SET_PDEATHSIG's signal when the thread that made the child
// ends, not the process, and the runtime ends threads as it likes: so this
// goroutine keeps its thread, for ever. It also is where an affinity can be set
// for the child without touching any other goroutine.
var spawner = sync.OnceValue(func() chan<- *spawnRequest {
	queue := make(chan *spawnRequest)
	go func() {
		runtime.LockOSThread()
		for r := range queue {
			r.pid, r.err = r.pinned()
			close(r.done)
		}
	}()
	return queue
})

// spawn has r carried out. ctx ends the waiting for the spawner; once that has
// the request, it is carried out.
func spawn(ctx context.Context, r *spawnRequest) (pid int, err error) {
	r.done = make(chan struct{})
	select {
	case spawner() <- r:
		<-r.done
		return r.pid, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// pinned starts the process while this thread has the child's affinity, which
// the child inherits.
func (r *spawnRequest) pinned() (pid int, err error) {
	if r.cpus == nil {
		return r.fork()
	}
	var old unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return 0, os.NewSyscallError("sched_getaffinity", err)
	}
	if err := unix.SchedSetaffinity(0, r.cpus); err != nil {
		err := os.NewSyscallError("sched_setaffinity", err)
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("none of them is there for this process (the machine has %s, a cpuset may have fewer): %w", onlineCPUs(), err)
		}
		return 0, fmt.Errorf("field CPUs is %v: %w", listCPUs(r.cpus), err)
	}
	defer unix.SchedSetaffinity(0, &old)
	return r.fork()
}

func listCPUs(set *unix.CPUSet) (list []int) {
	for cpu := range len(set) * bits.UintSize {
		if set.IsSet(cpu) {
			list = append(list, cpu)
		}
	}
	return list
}

// onlineCPUs is the kernel's list of the CPUs that work, such as "0-3,8".
func onlineCPUs() string {
	b, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return "others"
	}
	return strings.TrimSpace(string(b))
}

func (r *spawnRequest) fork() (pid int, err error) {
	pid, err = r.attempt()
	if err == syscall.EPERM && r.tree && userNamespace(r.attr.Sys) {
		pid, err = r.attempt()
	}
	if err == nil {
		return pid, nil
	}
	if r.attr.Dir != "" {
		// exec's ENOENT and EACCES do not say whether they mean the directory.
		if _, serr := os.Stat(r.attr.Dir); serr != nil {
			return 0, &os.PathError{Op: "chdir", Path: r.attr.Dir, Err: err}
		}
	}
	if r.tree && r.attr.Sys.Cloneflags&unix.CLONE_NEWPID != 0 && (err == syscall.EPERM || err == syscall.ENOSPC) {
		err = fmt.Errorf("with a PID namespace, for field Tree: %w", err)
	}
	return 0, &os.PathError{Op: "fork/exec", Path: r.path, Err: err}
}

// attempt forks, without asking for a pidfd where that is refused.
func (r *spawnRequest) attempt() (pid int, err error) {
	sys := *r.attr.Sys // StartProcess must not see what the next attempt changes
	attr := *r.attr
	attr.Sys = &sys
	*sys.PidFD = -1
	if kernel.clonePidfd.Load() {
		pid, err = r.start(&attr)
		if err == nil || !refused(err) {
			return pid, err
		}
	}
	// It may be the pidfd that a filter refuses. If not, it fails again.
	*r.attr.Sys.PidFD = -1
	sys.PidFD = nil
	tried := err != nil
	pid, err = r.start(&attr)
	if err == nil && tried {
		kernel.clonePidfd.Store(false)
	}
	return pid, err
}

// start is syscall.StartProcess. In Go 1.26 that leaves a pipe open where clone
// fails for a process whose ids are mapped. So such a clone is tried first without:
// if it is allowed, the process that it makes ends for want of a program.
func (r *spawnRequest) start(attr *syscall.ProcAttr) (pid int, err error) {
	if sys := attr.Sys; sys.UidMappings != nil || sys.GidMappings != nil {
		bare := syscall.SysProcAttr{Cloneflags: sys.Cloneflags, UseCgroupFD: sys.UseCgroupFD, CgroupFD: sys.CgroupFD, PidFD: sys.PidFD}
		if _, _, err := syscall.StartProcess("", nil, &syscall.ProcAttr{Sys: &bare}); err != syscall.ENOENT {
			return 0, err
		}
	}
	pid, _, err = syscall.StartProcess(r.path, r.argv, attr)
	return pid, err
}
