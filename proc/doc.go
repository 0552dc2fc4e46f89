// Package proc runs functions of this program, and other programs, in processes
// of their own.
//
// A function is registered under a name, in a package variable, so that every
// copy of the program knows it:
//
//	var greet = proc.Register("greet", func(ctx context.Context, who string) error {
//		fmt.Println("hello,", who, "from process", os.Getpid())
//		return nil
//	})
//
//	func main() {
//		proc.Dispatch() // first: in a child this runs the function and exits
//		p, err := greet.Start(context.Background(), "world")
//		…
//		state, err := p.Wait(context.Background())
//	}
//
// Start executes this same binary again (/proc/self/exe, so a binary that was
// replaced or deleted meanwhile, as go run's and go test's are, does no harm).
// The child runs its package initialisation, reaches [Dispatch] at the top of
// main, and goes straight into the function. It is a new process, not a fork: it
// shares no variable with its parent, only what is passed to it. [Start] runs any
// other program by its path, with the same [Cmd].
//
//	parent                                     child
//	Start ── clone, exec /proc/self/exe ─────► runtime, packages initialise
//	  │  argument (gob) and descriptors        │
//	  └─────────── a socket ─────────────────► Dispatch: decode, take, "ready"
//	Start returns ◄──────────────────────────── f(ctx, argument)
//	Wait ◄──────── pidfd, crash memory ──────── exit 0, 1, 2, or a signal
//
// # Arguments
//
// An argument is one value of any type that encoding/gob can carry: several are
// the fields of a struct, and only exported fields travel. Handles may stand in it: objects that are descriptors underneath, such as *os.File,
// *net.UnixConn, or the queues, locks and pipes of the packages beside this
// one. The child gets its own object for each handle; the parent's stays open
// and is the parent's to close. Handles may stand in exported fields, nested
// structs, arrays, slices and behind pointers. One handle that stands in two
// places is sent once and is one object in the child, too.
//
// A child has the descriptors 0 to 2 and what it was given: nothing else that is
// open here, and nothing that this process has inherited itself.
//
// # Ends
//
// A child dies with its parent: even if the parent is killed by SIGKILL, the
// kernel kills the child (unless [Cmd.Detach] is set), and the child's children
// that were started through this package, and so on. What they started otherwise
// dies with them if [Cmd.Tree] is set. When the context given to Start ends, the
// child gets SIGTERM, which cancels its function's context, and SIGKILL
// [Cmd.WaitDelay] later. A function that returns nil ends its process with status
// 0, an error gives status 1 and its text travels back, a panic in any goroutine
// gives status 2 and the panic's text travels back with its stack, as does a
// fatal error of the runtime. See [ExitError]; a [State] tells a signal, a core
// dump and an end for want of memory apart.
//
// # What it costs
//
// A start costs about what os/exec takes for the same binary, of which most is not ours: the
// kernel loads it and serves the pages that it touches, the Go runtime asks for
// a signal handler for each signal (114 of the 200 system calls) and starts its
// threads, and the packages initialise themselves: encoding/gob takes 0.2 ms of
// that, and whatever the program has in its own package variables. A program with
// little in them starts sooner.
//
// # What it leaves behind in the process
//
// The first Start creates one goroutine, locked to a thread, that starts all
// children and never ends: the kernel ties "dies with its parent" to the thread
// that created the child, so that thread has to stay. Each running child has one
// goroutine, which ends with it, and up to three descriptors here, two more if it
// has a cgroup.
//
// # Kernels
//
// Linux 5.4 has all that functions and programs need. Without pidfds (before
// 5.2, or behind a filter) each running child holds a thread, and [PidFD] is not
// to be had. Further: [PidFD.GetFile] 5.6, cgroups in [Cmd.Sys] 5.7, [Cmd.Tree]
// in a cgroup 5.14. Clone itself is the standard library's: a raw one without the
// runtime's hooks is not safe in Go.
//
// # When a process is killed
//
// A child that is killed is a child that ended: Wait returns an [*ExitError] whose
// State names the signal, [Process.Done] is closed, and what it shared by package
// shm goes on. A parent that is killed takes its children along. Between the two
// there is no moment without a rule: a child that finds at its start that its parent
// is gone already ends. No pid is ever used for a signal that could have become
// somebody else's: all goes by pidfd, and exit statuses of other children (of
// os/exec, say) are left alone.
//
// # Sources
//
// clone(2), pidfd_open(2), prctl(2) for PR_SET_PDEATHSIG and what it says of
// threads (golang/go#27505 tells what happens to who does not read it),
// pid_namespaces(7), cgroups(7). That a program finds its function by a name which
// it registers at its start is the way of moby's reexec; the words are those of
// os/exec where it has any.
package proc
