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
//	caller's goroutine                                worker process
//	Call ─ lease ─►  ┌─ request ring ─────────────►┐   decode
//	  │ waits for    │     (one segment            │     f(ctx, in)
//	  │ the reply, a │      for each worker)       │   encode
//	  │ death, ctx   └◄────────────── reply ring ──┘
//	  └─ gives the worker back
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
// run what was given to [AtExit]; [Pool.Close] alone kills them.
//
// [Config] has spares, retries, recycling by calls and by memory, and an
// [InitFunc] by which queues, locks and values of package shm reach the workers.
// Their standard error is forwarded line by line, and its end stands in a
// WorkerError. [Pool.Stats] reads what workers count in shared memory, without
// asking them.
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
//
// While both sides are awake a call makes no system call; to wake a worker that
// sleeps is one, and one wakes the caller. A call holds a thread while it sleeps for
// its reply, and none while it waits for a worker to become idle. The pool itself
// has two goroutines a worker, which wait for its end and forward its standard
// error, and no thread.
//
// # When a process is killed
//
//   - A worker: its call returns a [*WorkerError], or is begun again as
//     [Config.Retries] says. Every other call goes on; another worker is started.
//     A call has run once, in part, or not at all: the pool can't know. What may
//     not run twice must not be retried.
//   - The caller's process: its workers end with it, by the kernel's hand.
//   - Workers that die before they had a call, again and again: calls get
//     [ErrBroken] with how the last one ended, and no process is started any more.
//
// # Kernels
//
// As packages proc and futex: Linux 5.4. Without futex_waitv (before 5.16) the end
// of a worker is seen up to 10 ms later.
//
// # Sources
//
// What users of Python's multiprocessing.Pool ask for (python/cpython#96062: a
// killed worker makes the pool hang) and what concurrent.futures, loky, pebble and
// piscina answer. The lease is that of any connection pool.
package pool
