package proc

import (
	"os"
	"syscall"
	"time"
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
