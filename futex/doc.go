// Package futex has the locks and waits that work between processes: types
// without pointers that live in memory which several processes map, and that
// sleep in the Linux kernel with futex(2).
//
// There are two tiers. The raw one is the kernel's own: [Wait] sleeps while a
// 32-bit word keeps a value, [Wake] wakes who sleeps there, and the caller
// builds a protocol from the two. The other one is for everyone: [Mutex] and
// its siblings are used as those of package sync are, save that they may lie
// in shared memory and that what blocks can be cancelled by a context:
//
//	s, err := shm.New[struct {
//		Mu    futex.Mutex
//		Count int64
//	}](nil)
//	…
//	c := s.Ptr()
//	c.Mu.Lock()
//	c.Count++
//	c.Mu.Unlock()
//
// The zero value of a type is ready for use unless its doc says otherwise. A
// value must not be copied or moved after first use: other processes know it
// by its place.
//
//	process A          memory that both map           process B
//	┌────────┐   CAS   ┌─────────────────────┐   CAS   ┌────────┐
//	│ Lock   │────────►│ owner: A            │◄────────│ Lock   │
//	│ Unlock │         │ the bit: one sleeps │         │        │
//	└───┬────┘         └─────────────────────┘         └───┬────┘
//	    │ wake               the kernel                    │ wait
//	    └───────────►  a queue of sleepers for  ◄──────────┘
//	                        this word
//
// Only who has to wait, and who finds that somebody does, calls the kernel.
//
// # Waiting and threads
//
// A wait in the kernel holds an operating-system thread, and the Go runtime
// ends a program that has 10,000 of them. So of all goroutines of a process
// that wait for one primitive only one waits in the kernel; the others stand
// in line behind it inside the process. The raw tier has no such line: each
// call of [Wait] holds a thread.
//
// # Cancelling
//
// A wait with a context sleeps on two words at once, the shared one and a
// private one that the end of the context sets (futex_waitv, Linux 5.16).
// Where the kernel has no such call, the end of the context wakes all sleepers
// of the shared word until the cancelled one has left; the others see a
// spurious wake, an idle waiter costs nothing. Nothing polls.
//
// A nil context panics where a call comes to need it, which one that finds a lock
// free does not. The call has taken nothing then, and nobody waits for it.
//
// # Time
//
// Deadlines are points of CLOCK_MONOTONIC: setting the wall clock moves none.
//
// # When a process is killed
//
// The kernel knows which words a dying thread holds (its robust list), marks
// them and wakes a sleeper. The list belongs to a thread, and goroutines have none
// of their own: so a thread that never ends, the guardian, holds the locks of the
// whole process. [Attach] declares the memory; package shm does so.
//
//   - [RobustMutex], [RWMutex], [RecursiveMutex], [Once] and [Cond] survive the
//     death of any process at any instruction. A lock's next owner gets it
//     together with [ErrOwnerDead], and says [RobustMutex.MarkConsistent] when what
//     it guards is in order again. If he unlocks without, everyone gets
//     [ErrNotRecoverable] from then on.
//   - [Mutex] does not: who dies holding one may keep it.
//   - [Semaphore]: a token of a dead process is lost, but for those taken by
//     [Semaphore.AcquireOwned], which come back.
//   - [Barrier] and [Event] don't count a party that has died: who waits leaves by
//     the context.
//
// A dead owner's lock is not given on before his last thread is gone: threads of a
// killed process were seen to write up to 21 ms after the kernel's mark.
//
// # What it costs
//
//	                                 system calls    threads held
//	Lock, Unlock, nobody else        none            none
//	Acquire, Release, Set, the same  none            none
//	to sleep                         1 (futex)       1 a process and primitive
//	to wake a sleeper                1 (futex)       none
//	robust types, once a process     a few           1 for 2,048 locks
//
// Before it sleeps a waiter spins for up to 50 µs where the partner can run on
// another CPU meanwhile, and stops doing so where it was in vain. A sleep with a
// context that can end costs three small allocations, without one none. A robust
// waiter looks after its owner four times a second, for what the kernel can't mark.
//
// A [Mutex] takes 4 bytes, a [RobustMutex] 16, a [RWMutex] and a [Cond] 4 KiB.
//
// # Memory shared with C or Python
//
// Another language may read and write the numbers that lie beside the types of
// this package, under a protocol of yours, but none of these types: their states,
// and how they know their owners, are this package's own and can change. What all
// can sleep on is a plain 32-bit word, aligned to 4: [WordAt] here, _Atomic
// uint32_t in C. Its peers call futex(2) with FUTEX_WAIT and FUTEX_WAKE and
// without FUTEX_PRIVATE_FLAG, which would look for sleepers in one process only;
// they change the word by an atomic instruction before they wake. Such a wake
// ends [Wait], [WaitContext] and [WaitAny], and [Wake] ends such a wait. Python has
// no atomic instructions: through ctypes it can sleep, store a word that nobody
// else writes, and wake, but make no lock. Of a peer that dies nobody is told:
// wait with a time limit, and look.
//
// # Kernels
//
// Linux 5.4 has all that is needed. Since 5.16 there is futex_waitv; where it is missing, or a filter forbids it, [WaitAny]
// sleeps in slices of 10 ms, and cancelling takes the way that is described above.
// Since 6.2 the kernel wakes the next sleeper for one that is killed with a wake;
// before, or where a filter forbids get_robust_list or set_robust_list, all that
// sleep on a lock, a semaphore or a barrier look around four times a second. (In
// one of several processes alone a filter must not: what that one has changed and
// not yet said when it dies, those who sleep in the others may not learn.)
// Processes in different PID namespaces can't share a robust lock. On amd64 and
// arm64 spinning uses the CPU's own pause; the other architectures are compiled,
// not tested.
//
// # Sources
//
// Ulrich Drepper, "Futexes Are Tricky" (2011), for [Mutex] and for what goes wrong
// elsewhere; futex(2), get_robust_list(2) and the kernel's
// Documentation/locking/robust-futex-ABI.rst; Dave Dice and Alex Kogan, "BRAVO"
// (2019), for the readers' counts of [RWMutex]. The robust protocols themselves are
// this project's: the models that check every order of their steps stand in
// package fuzz's tests, and the runs that kill them at every instruction in this
// package's.
package futex
