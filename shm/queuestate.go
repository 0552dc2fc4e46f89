package shm

import (
	"structs"
	"sync/atomic"

	"github.com/rawipc/rawipc/futex"
)

// queueState is what the queues have in common: two ends, each with a lock that
// outlives its holder, and the processes that take part.
//
// Who sends holds the lock of the sending end, from the look for room to the
// one store that commits (end.pos); so does who receives at the other end. Who is
// alone at an end has it without the lock: see alone.go.
// Whoever is killed in between has changed nothing that counts: the next one
// gets the lock and goes on. Who finds no room (nothing to receive) sleeps with
// the lock in hand, so that one process at most sleeps at each end, and the
// others wait for the lock: no wake can reach a process that can't use it, and
// none is lost when a sleeper dies, for his heir looks again.
type queueState struct {
	_        structs.HostLayout
	capacity uint64
	_        [120]byte
	send     end
	recv     end
	join     end // who waits for all messages to be done: no pos, no seen
	notify   end // whose notifier sleeps: likewise, and its sleeps is recv.armed
	done     atomic.Uint64
	ending   atomic.Uint32 // see CloseSend
	_        [116]byte
	members  [maxMembers]member
}

// An end is what those have in common who send, or who receive. The fields are
// grouped by who writes them, on cache lines of their own (128 bytes: CPUs
// fetch lines in pairs).
type end struct {
	lock futex.RobustMutex
	seen atomic.Uint64 // the other end's pos, when the holder of lock last looked
	user atomic.Uint64 // who may do without lock, and who does: see alone.go
	busy atomic.Uint64 // a member that is alone is in a call
	turn atomic.Uint32 // who asked for the end sleeps here
	_    [84]byte
	pos  atomic.Uint64 // what is committed; stored by the holder of lock
	_    [120]byte
	// What changes rarely, for the other end to look at. sleeps is set by the
	// holder of lock before it sleeps, and cleared by the other end, which then
	// wakes it.
	sleeps atomic.Uint32
	// armed is the same for a notifier, a word of its own, so that no sleeper
	// clears another's. The other end loads both from this one line.
	armed atomic.Uint32
	cpu   atomic.Uint32 // where the last holder runs: see futex.PinnedCPU
	_     [116]byte
}

// maxMembers is how many processes can use one queue at a time: a sleeper
// watches all of them in one futex_waitv, which takes 128 words.
const maxMembers = 120

// A member is a process that uses the queue, as those see it who sleep at the
// four ends: the kernel wakes one sleeper a word when the process dies.
type member [4]futex.Liveness

// The ends, as indices of a member.
const (
	sendEnd = iota
	recvEnd
	joinEnd
	notifyEnd
)

// stateLayout is a part of every queue's layout text: builds with another
// queueState are refused.
const stateLayout = ", 4 ends, alone"

// How far CloseSend has got.
const (
	sendsEnding = 1 // no further message
	sendsEnded  = 2 // nor one under way
)
