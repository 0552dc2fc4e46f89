// Package mq has POSIX message queues: bounded queues in the kernel, with names
// and priorities, that C programs open with mq_open(3).
//
//	q, err := mq.Create("/jobs", nil)       // here
//	q, err := mq.Open("/jobs", os.O_RDONLY) // in any other process
//	q.Send(ctx, []byte("job 1"), 5)         // highest priority comes out first
//	n, prio, err := q.Recv(ctx, buf)
//
// A queue lives in the kernel until it has been unlinked and closed by all; it
// and its messages survive every process that uses it. Sending and receiving is
// atomic: a process killed in the middle of a call has sent or received one
// message or none.
//
// The kernel's limits are narrow: by default 10 messages of 8 KiB in a queue and
// 800 KiB in all queues of a user. An error that comes from a limit names it,
// and the setting that raises it. For larger messages use package pipe, for
// speed package shm.
//
// Every call that waits takes a context and ends with it. No thread is held
// meanwhile: a queue is a descriptor, and waiting is done by Go's network
// poller.
//
// A Queue may be an argument of a child process: see [Queue.PassFiles].
package mq
