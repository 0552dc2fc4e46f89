// Package pool runs functions of this program in worker processes, which may
// crash, leak or be killed without harm to the caller.
//
//	var square = pool.Register("square", func(ctx context.Context, n int) (int, error) {
//		return n * n, nil
//	})
//
//	func main() {
//		proc.Dispatch() // first: a worker is this program again, and ends here
//		p, err := pool.New(nil)
//		…
//		defer p.Close()
//		nine, err := square.Call(ctx, p, 3)
//		all, err := square.Map(ctx, p, []int{1, 2, 3})
//	}
//
// A call that kills its worker, by a crash, by running out of memory or by
// somebody's SIGKILL, returns a [*WorkerError] that says how the worker ended.
// No other call is touched, and a new worker takes the place. A function that
// returns an error or panics gives a [*TaskError], and the worker goes on.
//
// # How a call runs
//
// The pool is a set of idle workers. A call leases one, writes into that
// worker's own shared memory (a ring of messages each way), waits there for the
// reply in the caller's goroutine, and gives the worker back. There is no
// dispatcher and no common queue: nothing that a death could corrupt, no call
// that waits behind a slow one while a worker is idle, and no doubt whose call
// a dead worker was serving.
//
// Cancelling a call cancels its function's context, and ends that worker; a new
// one starts meanwhile. Workers that are no longer needed end in good order, and
// run what was given to [AtExit]; [Pool.Close] alone kills them. [Config] has spares, retries, recycling by calls and by
// memory, and an [InitFunc] by which queues, locks and values of package shm
// reach the workers. Their standard error is forwarded line by line, and its end
// stands in a WorkerError. [Pool.Stats] reads what workers count in shared
// memory, without asking them.
//
// # Large values
//
// A value may be of any size: it goes through the ring in pieces. []byte, string
// and types without pointers travel as they are. [Func.CallInto] receives into
// the caller's own buffer. A chunk of Map is one message, so many small values
// cost little more than their copies.
//
// # What it costs
//
// A worker is a whole process: some milliseconds to start, some megabytes to
// keep. Arguments and results are copied. Processes suit work that takes a CPU
// or may crash; what waits for the network is better off in goroutines.
package pool
