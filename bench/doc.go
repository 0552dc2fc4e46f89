// Command bench tells which way between two processes is fastest on this
// machine.
//
//	go run ./bench
//
// starts two processes (this program again) for each path that the kernel
// offers, sends messages between them, and prints a table: how long a message
// and its answer take, how many messages and bytes go through in a second, and
// what CPU time one costs. It takes less than a minute.
//
// Each path is measured twice: with both processes on one CPU, and on two.
// That matters more than the path itself: to wake a process on another CPU
// costs ten times what it costs on the same one, and spinning helps only on
// two.
//
//	-json            one JSON object a line instead of the table
//	-paths REGEXP    only the paths whose name matches
//	-sizes LIST      message sizes, such as 64,4KiB,1MiB
//	-time DURATION   for each of a row's two loops
//	-rounds N        take turns for N rounds, on every placement there is
//	-html FILE       one page with pictures of the same, too
//	-all             every primitive, and what grows with size, processes, waiters
//	-peers           the same loops by C, by Python and by the standard library
//
// The same measurements run under go test -bench . ./bench, with names that
// benchstat understands.
//
// # How to read it
//
// A round trip is one message there and one back. Messages per second are
// those of a stream in one direction; for paths that carry a signal and no
// payload (futex.Word, eventfd), and for pool.Call, those of the round trips.
// CPU is the time of both processes together, per message of that loop.
//
// # Rounds
//
// With -rounds all paths are open at the same time and take turns, so that
// what disturbs the machine disturbs all of them alike. A figure is the median
// of its rounds, with the smallest and the largest behind it; where the middle
// half of the rounds lies more than a quarter of the median apart, the row is
// marked noisy and settles nothing. Placements are one CPU, two cores of one
// socket, siblings of one core and two sockets where sysfs shows them, and
// wherever the kernel puts the processes. Beside the rows that spin stands how
// long a cache line alone takes there and back (cache-line): no such row can be
// faster, and if the probe differs between two runs so will they.
//
// # All
//
// With -all also the primitives that carry one bit and the queues that many
// may use are paths (a round trip of futex.Barrier is one meeting), sizes go
// from 64 B to 64 MiB, and a second table has what is no message: locks alone,
// among 2 to 32 processes and after the owner's death, queues with 1 to 32
// processes at either end or both, a wake among 1 to 10,000 sleeping threads,
// the start of a process, the pool's Map and its recovery, and memory. It takes
// some ten minutes; -paths chooses from both tables.
//
// # Peers
//
// With -peers the same loops run in C (compiled on the spot by the C compiler
// that is there), by Python's multiprocessing and by the standard library's own
// ways, in the same rounds. A row then says how many times as fast as C and as
// Python it is: C's way is that of the same kind, the limit of what a library
// can reach; of Python's it is the fastest that carries the same, and for
// pool.Call its Pool. C's ring only spins, so that beside it stands the price
// of a ring whose reader may sleep. Ratios are the medians of those of each
// round. Peers that can't run are named, with the reason.
//
// # Where each microsecond goes
//
// Counted on a virtual machine with two CPUs (AMD EPYC, Linux 6.18), messages
// of 64 bytes, system calls per round trip of both processes together: the
// difference between 6,000 and 2,000 round trips under strace -f -c, of
//
//	go test -c ./bench && strace -f -c ./bench.test -test.run '^$' \
//	    -test.bench 'PingPong/path=shm.Ring$/size=64$' -test.benchtime 6000x
//
// and, where time is spent, perf record -e cpu-clock of the same. (A virtual
// machine has no instruction counter, and its samples of code that runs with
// interrupts off fall on the two functions that turn them on again:
// finish_task_switch after a switch, _raw_spin_unlock_irqrestore after a wake.)
// strace slows a process down, so that one which spins gives up and sleeps more
// often than it would; counts are upper bounds for the rows that spin.
//
//	                      per round trip, both processes            of the time
//	shm.Ring, two CPUs    no system call                            57% spinning, 17% ring, 7% copying
//	shm.Ring-sleep        1.2 futex, 1.2 futex_waitv                50% switch and wake in the kernel
//	futex.Word, one CPU   2.4 futex                                 (not sampled)
//	futex.Word, two CPUs  3.1 futex                                 (not sampled)
//	pipe.Pair, one CPU    2 sendto, 2 to 4 recvmsg, 0 to 2 yields   (not sampled)
//	pipe.Pair, two CPUs   2 sendto, 6 to 7 recvmsg, 1 to 4 yields   (not sampled)
//	pipe.OneWay, one CPU  2 write, 2 to 3 read, 1 to 2 yields       39% switch, 19% Go and package pipe
//	pool.Call, two CPUs   no system call                            51% spinning, 13% pool, ring and allocation
//
// Ring. While both sides are awake on two CPUs a message is a copy in, one store
// that the other CPU sees, and a copy out. More than half of a round trip is
// waiting for the other side (futex.pause, Spinner, the reader's look), and that
// is the time the cache line travels: the probe's row is the floor, 125 to 530
// ns there and back here, as the two CPUs of a virtual machine happen to be. The
// reader asks for the line with the message together with that of the position,
// or it would wait for one after the other. In one direction it rests before it
// looks, as long as there is more than one message after a rest: each look takes
// the position's line away from the writer. So a stream is up to twice as fast as
// that of a ring in C that looks all the time, and where the CPUs are close to each
// other, so that a look costs little, Go's calls and checks remain, some 6 ns a
// message at each end. On one CPU
// there is nothing to spin for: a message is one wake and one sleep, and half
// of the time is the kernel's switch between two processes.
//
// From 2 KiB on a copy takes the receiver's or sender's cache lines over without
// reading them first, where the CPU has a fast string instruction: 64 KiB take as
// long as in C, and 1 MiB less, for there memcpy goes past the cache.
//
// Futex. A round trip is two wakes and two waits at the least, four calls; fewer
// are counted where the word has changed before the waiter sleeps, and then
// nobody had to be switched to. Nothing is between the caller and the call, so
// the difference to C in the row is what Go adds to a blocking call: the thread
// gives its P away and takes one again. On two CPUs waking costs six to ten times
// what it does on one, in C as here: the other CPU is idle, and an interrupt has to
// wake it first.
//
// The rows of pipes are counted by perf stat -e syscalls:sys_enter_…, which
// slows nothing down, and change from run to run: after a look in vain readers
// park for a while, with two epoll_pwait a round trip in place of the yields.
//
// Pipe. A blocking read in C is one call that sleeps. Here the reader gives its CPU
// to the peer by sched_yield and reads when it has it again: on one CPU as many
// switches as C has, and up to 1.2 times its time. Only where the answer takes
// longer than 50 µs does the goroutine park: the scheduler looks for other
// work, sleeps in epoll_pwait, is woken, and reads again. That is two reads and
// two epoll_pwait where C has one read, and two to four times C's time; what it
// buys is that a thousand readers are a thousand goroutines and no threads, and
// that any of them can be cancelled. The poller watches a descriptor only while
// somebody waits that way (a watched one costs each message 0.1 to 0.2 µs). In
// one direction a reader takes many small messages by one call; a sender makes
// one a message, as C does.
//
// What a trip of 64 bytes through two pipes is made of, on one CPU (Intel Xeon, C's
// blocking calls 2.85 µs, ours 3.3): the same by yields in C 2.65, what Go's runtime
// does around four system calls 0.3, this module 0.35. Sockets need no such thing
// around a call: a stream is as fast as C. A packet is 1.2 times as slow, and in one
// direction 0.73 times as fast: recvmsg(2), which alone tells an empty packet from
// the end, takes 0.15 µs longer than read(2), and 0.35 of 1.75 µs are this module's.
// 1 MiB through a stream, 0.93 times as fast: the socket holds a fifth of it, so that
// it takes 13 calls and 12.4 switches where C, asleep in one write, has 9.7.
//
// Neighbours. All that is said here of one CPU holds where nobody else wants it.
// Somebody who computes there gets a slice of 1 to 2 ms by each yield, and a sleeper
// would be woken before that is over. Pipes, mq and the adaptive waits of locks,
// queues and rings notice and sleep, and try again now and then. Beside a busy loop
// 64 KiB go through a pipe, a stream or packets at 0.4 to 0.6 of C's speed (0.05 if
// they went on yielding), and a trip of 64 bytes takes 2 to 3 times as long as C's.
//
// Locks. A lock and its unlock are two locked instructions, in C as here, and
// little else. So what glibc does besides decides: of its time Mutex takes 0.66 where
// such an instruction takes 4.75 ns and 0.78 where it takes 7.5 (C's own, by two bare
// instructions, 0.69), RobustMutex 0.7 to 1.0, Semaphore 0.9 to 1.0, RLock 1.0. Between
// two CPUs each is 1.6 to 7 times as fast as glibc's, as who finds it taken rests
// before the next look. Two processes that share a CPU find it taken once in a time
// slice, after 100,000 sections: there they get as much done as glibc's, 0.85 to 1.05
// times, and nothing that a lock does when it is taken could change that.
//
// Queue. With one process at each end a call has one locked instruction, as that
// of Vyukov's queue in C has, and Queue is about as fast as that, or faster, as it
// looks less often. Once a second process has come to an end there are three: the
// seat, which keeps Close from unmapping what a call uses, the robust lock, and its
// unlock. They are half of the 30 ns (or 55, where a locked instruction takes 9) that
// a call then takes, and what it costs to survive a kill: 0.7 to 1.0 times C's speed.
// A batch pays for them once: 2 to 3 times.
//
// pool.Call. A call is a round trip over two rings with the coding of the
// arguments around it, in the caller's goroutine: no dispatcher, no system call
// while both are awake. Beside the ring's own time it is the lease and the copy
// of argument and result, straight into their places (pool.roundTrip, send,
// take), and of memory only a []byte's. That is why it is, on two CPUs, more than
// a hundred times as fast as Python's Pool, whose call passes through two pipes,
// two helper threads and pickle. On one CPU two thirds
// of a call are the kernel's switches, to the worker and back; 1 MiB there takes
// 0.37 ms by Call and 0.19 by CallInto, which needs no new memory for the result
// and leaves nothing to the garbage collector.
//
// # What grows
//
// A wake costs the same among 10,000 threads asleep on the word as among one:
// the kernel takes the first of the list. A lock and the ends of a shm.Queue are
// things that one process has at a time. Their cost per operation rises with the
// number of processes that want them at once, since each then sleeps and is
// switched to on CPUs that stay two: a message through a queue is 0.2 µs with
// one sender and 2.5 µs with 32. A ring for each pair of processes has no such
// growth, and is what pool uses for each of its workers.
package main
