// Package proc runs functions of this program in processes of their own.
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
// replaced or deleted meanwhile does no harm). The child runs its package
// initialisation, reaches [Dispatch] at the top of main, and goes straight into
// the function. It is a new process, not a fork: it shares no variable with its
// parent, only what is passed to it.
//
// # Arguments
//
// An argument is one value of any type that encoding/gob can carry, and handles
// may stand in it: objects that are descriptors underneath, such as *os.File,
// *net.UnixConn, or the queues, locks and pipes of the packages beside this
// one. The child gets its own object for each handle; the parent's stays open
// and is the parent's to close. Handles may stand in exported fields, nested
// structs, arrays, slices and behind pointers. One handle that stands in two
// places is sent once and is one object in the child, too.
//
// # Ends
//
// A child dies with its parent: even if the parent is killed by SIGKILL, the
// kernel kills the child (unless [Cmd.Detach] is set). When the context given to
// Start ends, the child gets SIGTERM, which cancels its function's context, and
// SIGKILL [Cmd.WaitDelay] later. A function that returns nil ends its process
// with status 0, an error gives status 1 and its text travels back, a panic
// gives status 2 and the panic's text travels back with its stack. See
// [ExitError].
//
// # What it leaves behind in the process
//
// The first Start creates one goroutine, locked to a thread, that starts all
// children and never ends: the kernel ties "dies with its parent" to the thread
// that created the child, so that thread has to stay. Each running child has one
// goroutine, which ends with it, and three descriptors here.
package proc
