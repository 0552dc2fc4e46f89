// Package shm is memory that processes share: segments of it, typed values in
// it, and queues of messages through it.
//
//	counter, err := shm.New[struct {
//		Mu futex.Mutex
//		N  int64
//	}](nil)
//
// makes a piece of memory that any process may map; *counter.Ptr() is the
// struct itself, not a copy. All typed objects are
// handles: put them into the arguments of a function that package proc starts
// in another process, and the same memory is there.
//
// # Raw and typed
//
// An [Object] is the raw tier: bytes without a byte of ours, the same that C
// and Python see. The typed objects carry a header before the data: what it
// is, how large, the byte order, and the layout of the type. Who maps it checks
// all of that first, so that a program with another idea of the type gets an
// error and not other values.
//
// A [Value] is one T that is read and written as a whole: no reader waits or
// sees a mixture, and a writer that is killed leaves the old value or the new
// one. An [Array] is many Ts under one lock, changed in place. A [Shared] is one
// T with its own rules. Each has three homes: memory without a name (New…), a
// name in /dev/shm (Create…, Open…), and a place in a mapping (…At).
//
//	process A                                    process B
//	Value.Ptr, Queue.Send …                      …
//	     │ mapped                                     │ mapped
//	┌────▼─────────────────────────────────────────────▼──┐
//	│ header: magic, size, layout of T │ the data        │  one memfd,
//	└──────────────────────────────────────────────────────┘  or a name
//	     ▲ the descriptor travels in proc's arguments,
//	       or the name is opened
//
// # Queues
//
//	q, err := shm.NewObjectQueue[Job](1<<20, "") // Python's Queue
//	err = q.Send(ctx, job)
//	for job, err := range q.All(ctx) { … }
//
// A [Queue] hands over Ts without pointers, and is the fastest for many senders
// and receivers; a [MessageQueue] hands over bytes, of any length; an
// [ObjectQueue] anything that gob or another codec can encode. A ring
// ([NewRing]) has one sender and one receiver and is faster still. Nothing is
// sent in the background: what Send returned for is in shared memory, and a
// message is there whole or not at all, whoever is killed when. Two locks that
// outlive their holder guard the two ends of a queue; what a sender or receiver
// does under one of them counts from the single store on that commits it.
//
// A program that waits for descriptors too, in poll or epoll, takes a queue's
// [Notifier]: an eventfd that becomes readable when there is something to
// receive, and costs senders nothing while it is not armed.
//
// # With a name or without
//
// [CreateAnon] makes memory without a name, which is passed on as a descriptor
// and goes with its last user: nothing is ever left behind. [Create] and [Open]
// are for processes that have nothing in common but a name, as of C's shm_open
// and Python's SharedMemory. A name stays until [Unlink]; those that killed
// programs leave are removed by [Sweep].
//
//	o, err := shm.Create("myprogram.table", 1<<20, nil)
//	m, err := o.Map(0, 0, shm.ReadWrite)
//	n, err := m.WriteAt(data, 0) // or m.Bytes, shm.At, shm.SliceAt
//
// # What may be shared
//
// A type without pointers, at any depth: no string, slice, map, channel,
// function or interface. Use arrays, and the types of package futex.
//
// # Memory that can't bite
//
// Memory is allocated when an object is made: where there is too little the
// error comes then and says how much was wanted and how much there is, not later
// as a fatal signal. Anonymous objects are sealed: nobody can shrink them under
// a reader. Named ones can't be sealed; who may open them is decided by owner and
// mode, and ReadAt and WriteAt make an error of what a peer took away. What
// others put into /dev/shm under our name is refused. What a peer writes into
// shared memory is not trusted: lengths and positions are loaded once, checked,
// then used. Nothing is ever mapped for execution.
//
// # When a process is killed
//
// Whoever is killed, at any instruction, the others go on.
//
//   - A message is in a queue whole or not at all; what Send returned for stays.
//     A receiver that is killed takes at most the message with it that it was
//     receiving.
//   - A [Value] has its old content or its new one.
//   - An [Array] whose writer died in the middle of an Update says
//     [futex.ErrOwnerDead] to everyone until [Array.Recover].
//   - In a [Shared] the rules are those of the types in it.
//   - A ring's other end gets [ErrPeerDead] when it would have to wait, after
//     all that was committed; another process may take the dead one's place.
//   - Memory without a name is the kernel's to free. A name stays, for [Sweep].
//
// What kills the promise: a peer that truncates a named object (all that is mapped
// then faults, which ends a process in Send, Recv, Load, Store or at a pointer;
// [Mapping.ReadAt] and [Mapping.WriteAt] return an error), and other PID
// namespaces, which are refused ([ErrNamespace]).
//
// # What it costs
//
//	                                  system calls         threads held
//	Value.Load, Store, Update         none                 none
//	Array.Load, Update                none                 none
//	Send, Recv, the other side awake  none                 none
//	Send, if the other side sleeps    1 (futex)            none
//	Recv, if there is nothing         1 (futex) to sleep   1 a process and queue
//	New…                              15 to 20, once       1 a process, for locks
//
// Before it sleeps a receiver spins for up to 50 µs if the sender can run
// meanwhile; [RingReader.SetSpin] says otherwise. A message is copied in and copied
// out; [RingWriter.Reserve] and [RingReader.Peek] leave out both. Nothing here
// allocates but the codecs, RecvAppend's growing buffer, and a sleep whose context
// can end. An object that has locks in it holds two descriptors, else one.
//
// # Kernels
//
// Linux 5.4 has all that is needed: memfd_create 3.17, open file description locks
// 3.15, F_SEAL_FUTURE_WRITE 5.1. Since 6.3 memory is made so that it can never be
// executed. /dev/shm has to be a tmpfs for objects with names; its size bounds
// those, not memory without a name. Where it has no O_TMPFILE, names need
// renameat2; before 6.6, where it has no attributes, the sticky bit marks them.
//
// # Sources
//
// memfd_create(2), fcntl(2) on seals and open file description locks, shm_open(3).
// The ring's positions follow Lamport's queue of one writer and one reader (1977),
// each side with a copy of the other's, as in FastForward and MCRingBuffer; its
// double mapping is an old trick. A [Value] larger than a word is the latch
// of databases, a relative of the sequence lock. The queues are this project's:
// models and kill runs stand in the tests of packages fuzz and shm. That a queue's
// end needs no lock until a second process wants it is biased locking (Kawachiya,
// Koseki, Onodera, 2002) with membarrier(2) for what its fences do, once and never
// back.
package shm
