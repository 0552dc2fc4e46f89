package proc

import (
	"os"
	"syscall"
	"time"
)

// DefaultWaitDelay is the time between SIGTERM and SIGKILL if [Cmd.WaitDelay] is
// not set.
const DefaultWaitDelay = 5 * time.Second

// Cmd says how a process is made. For [Func.StartCmd] the zero value is useful;
// [Start] needs a Path. A Cmd is only read: it may be used again, and by several
// goroutines at once.
type Cmd struct {
	// Path is the program that [Start] runs, as execve(2) takes it: without a
	// slash it is a file in Dir, not one in $PATH (see exec.LookPath). A
	// function's program is always this one.
	Path string

	// Args are the program's arguments, the first being what it is called;
	// nil: Path alone. A function gets this process's own.
	Args []string

	// Name names the process in errors and in [Self]; empty: the function's
	// name, or the last part of Path.
	Name string

	// Env is the whole environment, "key=value"; nil: this process's own. The
	// last entry of a key counts.
	Env []string

	// Dir is the working directory; empty: this process's own.
	Dir string

	// Stdin, Stdout and Stderr are lent to the child. A nil Stdin is /dev/null;
	// nil Stdout and Stderr are this process's own. A program, which may not
	// expect otherwise, gets blocking files: a pipe or a FIFO is opened anew for
	// it, but a socket becomes blocking for all who have it.
	Stdin, Stdout, Stderr *os.File

	// Files are lent to the child, too, each under a name. A program finds the
	// number of its descriptor in the environment variable of that name; a
	// function takes the file from [Child.File].
	Files map[string]*os.File

	// Sys has further attributes for the kernel, for those who need them:
	// namespaces, credentials, a cgroup. Ptrace can't be used. Pdeathsig is set
	// to SIGKILL unless Detach is set or it is given here.
	Sys *syscall.SysProcAttr

	// Limits bound what the child may use.
	Limits Limits

	// CPUs are the numbers of the CPUs that the child may run on, from 0; nil:
	// those of the spawner's thread, which are usually this process's own. Those
	// that are not there, or that a cpuset takes away, are left out, as
	// sched_setaffinity does it: Start fails if none is left. The child's Go runtime
	// takes its GOMAXPROCS from them.
	CPUs []int

	// Detach lets the child live on when this process ends.
	Detach bool

	// Tree makes the child the root of a tree: all that it starts, and all that
	// those start, end with it at the latest, however they were started. The
	// child is made in a PID namespace of its own, and in a user namespace,
	// too, if this process may not make PID namespaces else. There it is
	// process 1: a signal that it does not handle does not end it, SIGKILL
	// excepted, and it is the one to wait for orphans. Typed objects of package
	// shm and locks can't be passed there; Start says so.
	//
	// If Sys.UseCgroupFD is set, that cgroup takes the namespace's place: Kill
	// and the child's end kill all that is in it. It has to be the tree's own,
	// and new: Linux 6.18, at least, kills what is started in a cgroup that was
	// killed before. Anything can be passed, but this process has to live for it, and those
	// killed may end a moment after Wait has returned.
	Tree bool

	// WaitDelay is the time that the child has, from the SIGTERM that it gets
	// when Start's context ends, until SIGKILL; 0: DefaultWaitDelay.
	WaitDelay time.Duration
}
