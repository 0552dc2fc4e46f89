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
// # Time
//
// Deadlines are points of CLOCK_MONOTONIC: setting the wall clock moves none.
package futex
