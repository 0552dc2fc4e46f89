package proc

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// plant opens what kills the whole tree, if that is a cgroup. The end of a PID
// namespace needs nothing: it comes with its first process's.
func (p *Process) plant(cmd *Cmd) error {
	if !cmd.Tree || cmd.Sys == nil || !cmd.Sys.UseCgroupFD {
		return nil
	}
	fd, err := openAt(cmd.Sys.CgroupFD, "cgroup.kill", unix.O_WRONLY)
	if err != nil {
		return fmt.Errorf("field Tree: Sys.CgroupFD is no cgroup that can be killed (version 2, Linux 5.14): %w",
			&os.PathError{Op: "open", Path: "cgroup.kill", Err: err})
	}
	p.cgroup = os.NewFile(uintptr(fd), "cgroup.kill")
	return nil
}

// fell kills all that is in the tree's cgroup; p.mu is held, or nobody else has
// p.
func (p *Process) fell() error {
	if p.cgroup == nil {
		return nil
	}
	_, err := p.cgroup.WriteString("1")
	return err
}

// forget gives back what a process holds that was not made.
func (p *Process) forget() {
	unix.Close(p.report)
	p.cgroup.Close() // nil is fine
	p.memory.close()
}

// userNamespace adds a user namespace to attr in which this process's user and
// group are themselves: whoever has one may make a PID namespace in it. It
// reports whether that is something new.
func userNamespace(attr *syscall.SysProcAttr) bool {
	if attr.Cloneflags&unix.CLONE_NEWUSER != 0 || attr.Credential != nil {
		return false
	}
	attr.Cloneflags |= unix.CLONE_NEWUSER
	if attr.UidMappings == nil && attr.GidMappings == nil {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	}
	return true
}

// openAt opens name in the directory dir.
func openAt(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
