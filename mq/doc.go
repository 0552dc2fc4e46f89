// Package mq has POSIX message queues: bounded queues in the kernel, with names
// and priorities, that C programs open with mq_open(3).
//
//	q, err := mq.Create("/jobs", nil)       // here
//	q, err := mq.Open("/jobs", os.O_RDONLY) // in any other process
//	q.Send(ctx, []byte("job 1"), 5)         // highest priority comes out first
//	n, prio, err := q.Recv(ctx, buf)
//
//	process A                     the kernel                  process B
//	              /jobs   ┌────────────────────────┐
//	Send, prio 5 ────────►│ 9 9 5 5 5 0            │────────► Recv: prio 9
//	(mq_timedsend)        │ at most 10, of 8 KiB   │          (mq_timedreceive)
//	                      └────────────────────────┘
//
// A queue lives in the kernel until it has been unlinked and closed by all; it
// and its messages survive every process that uses it. Sending and receiving is
// atomic: a process killed in the middle of a call has sent or received one
// message or none. A message that a process had received when it was killed is
// gone with it; if that must not be, let the receiver answer.
//
// The kernel's limits are narrow: by default 10 messages of 8 KiB in a queue and
// 800 KiB in all queues of a user. An error that comes from a limit names it,
// and the setting that raises it. For larger messages use package pipe, for
// speed package shm.
//
// Every call that waits takes a context and ends with it. No thread is held
// meanwhile: a queue is a descriptor, and waiting is done by Go's network
// poller. Before that, for 50 µs at most, a call gives its CPU to others and
// tries again, since most messages come sooner than a sleeper wakes; where they
// don't, calls learn to do without.
//
// [Queue.Notify] waits for a message without taking it; [List] names the queues
// that there are. The one attribute that mq_setattr(3) can set, O_NONBLOCK, is
// always on, for the poller: a C program that inherits the descriptor of a Queue
// should clear it, which does no harm here, or open the queue by name.
//
// Each message wakes the poller of every Go process that waits for one, and of
// those that have passed the Queue on: close one that is only passed on.
//
// A Queue may be an argument of a child process: see [Queue.PassFiles].
//
// # When a process is killed
//
// Nothing happens to the queue: it is the kernel's. Messages that were sent stay, also
// when nobody has the queue open; its name stays until [Unlink]. A message is
// lost only with the process that had received it. A [Queue.Notify] that a dead
// process had registered is free again.
//
// # What it costs
//
//	                             system calls                              threads held
//	Send, Recv, no need to wait  1 (mq_timedsend, mq_timedreceive)         none
//	to wait                      1 more try, epoll_pwait by the poller     none, 1 descriptor
//	Notify                       8, and a descriptor meanwhile             none
//
// A message is copied into the kernel and out of it, and sorted in by its priority.
//
// # Kernels
//
// Any Linux with CONFIG_POSIX_MQUEUE, which 5.4 and later have where the distribution
// says so; else every call fails with ENOSYS. Queues are as private as the IPC
// namespace: containers don't see each other's. /proc/sys/fs/mqueue has the limits.
//
// # Sources
//
// mq_overview(7), mq_notify(3) and the kernel's ipc/mqueue.c, where the limits of
// a user are counted.
package mq
