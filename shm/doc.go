// Package shm is memory that processes share: segments of it, typed values in
// it, and a ring of messages through it.
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
// # What may be shared
//
// A type without pointers, at any depth: no string, slice, map, channel,
// function or interface. Use arrays, and the types of package futex.
//
// # Memory that can't bite
//
// Memory is allocated when an object is made: where there is too little the
// error comes then and says how much was wanted, not later as a fatal signal.
// Anonymous objects are sealed: nobody can shrink them under a reader. What a
// peer writes into shared memory is not trusted: lengths and positions are
// loaded once, checked, then used.
package shm
