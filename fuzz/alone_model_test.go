package fuzz_test

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/rawipc/rawipc/fuzz"
)

// aloneEnd is one end of a queue that a member uses without the lock until another
// one asks for it (shm/alone.go), with the ways in which it can be got wrong. A
// call loads pos and stores one more, and must have been the only one.
//
// The lock is robust, and modelled elsewhere: who wants it gets it when it is free
// or its holder gone to the last thread.
type aloneEnd struct {
	processes, wide int  // so many of them have two threads
	first, each     int  // calls of each thread of the first process to start, and of others
	ready           bool // the first one is alone from the start
	try, leaves     bool // calls may be Try calls; processes may Close

	crashes, giveUps int
	late             fuzz.Late

	// Mistakes.
	noFence     bool // who asks makes none
	busyFirst   bool // who asks looks at busy before he stores user
	userFirst   bool // the member looks at user before it stores busy
	wakeFirst   bool // it looks whom to wake before it stores busy
	noStop      bool // and makes no fence in between
	noYield     bool // it does not look at user at the end of a call
	unwatched   bool // who asks sleeps on turn only
	takeDying   bool // and does not wait for the end of who is dying
	lateTurn    bool // and stores turn after his last look at busy
	trustAsked  bool // who finds that somebody has asked need not
	trustOwn    bool // nor has a member to ask itself
	keepMark    bool // who has asked leaves the seat's mark
	grab        bool // who has asked is the next to be alone
	joinKeeps   bool // join does not forget
	forgetTakes bool // forget clears turn, then wakes
	sameWord    bool // a member is claimed by the word that who asks watches
	tryGoesOn   bool // a Try call that has not got the end goes on
	unlockFirst bool // goAlone unlocks, then stores user
}

const aloneMembers = 3

// Shared cells.
const (
	aeTurn  = iota                  // slept on
	aeLife                          // and one for each member
	aeClaim = aeLife + aloneMembers // likewise, the word by which it is claimed
	aeLock  = iota + 2*aloneMembers - 2
	aeDied  // the members' words that the kernel has marked
	aeUser
	aeBusy
	aePos
	aeCount // of commits, as nobody sees it
	aeRoles // processes that have started
)

// Private cells. What the one in the seat stores plainly stands in its CPU's
// buffer first, as bits of apBuffer.
const (
	apSeat = iota // who sits there, as all see it
	apAlone
	apBuffer
	apPos  // that stands in the buffer
	apMe   // number of the member
	apJoin // 1: somebody is at it, 2: done
	apLeft // threads
)

// What can stand in a buffer, in the order in which it goes there.
const (
	bufBusy = 1 << iota
	bufPos
	bufIdle
	bufNotAlone // by mistake
	bufFree     // the seat
)

// The values of user.
const (
	userMask  = 7
	userAlone = 1 << (iota + 2)
	userAsked
	userAll
)

// Registers.
const (
	arLeft = iota // calls
	arTry
	arSeated
	arUser
	arNext // user
	arBusy // by mistake: busy when he had not asked
	arWatch
	arPos
	arThen // where to go on
	arFail
)

var (
	errTogether = errors.New("two had the end at the same time")
	errUnlocked = errors.New("unlock of a lock that another has, or nobody")
	errLostPos  = errors.New("pos is not the count of commits")
)

// asProcess runs do as process p.
func asProcess(w *fuzz.World, p int, do func()) {
	old := w.P
	w.P = p
	do()
	w.P = old
}

// drainOne makes the next store in this process's buffer one that all see.
func (v aloneEnd) drainOne(w *fuzz.World) {
	b := w.Private(apBuffer)
	bit := b & -b
	w.SetPrivate(apBuffer, b&^bit)
	v.store(w, bit)
}

func (v aloneEnd) store(w *fuzz.World, bit int) {
	switch bit {
	case bufBusy:
		w.Set(aeBusy, w.Private(apMe))
	case bufPos:
		w.Set(aePos, w.Private(apPos))
		w.SetPrivate(apPos, 0)
	case bufIdle:
		w.Set(aeBusy, 0)
	case bufNotAlone:
		w.SetPrivate(apAlone, 0)
	case bufFree:
		w.SetPrivate(apSeat, 0)
	}
}

func (v aloneEnd) drain(w *fuzz.World) {
	for w.Private(apBuffer) != 0 {
		v.drainOne(w)
	}
}

// fence is what a locked instruction does besides.
func (v aloneEnd) fence(w *fuzz.World) {
	if w.Private(apSeat) == w.Thread() {
		v.drain(w)
	}
}

// fenceAll is membarrier.
func (v aloneEnd) fenceAll(w *fuzz.World) {
	for p := range v.processes {
		asProcess(w, p, func() { v.drain(w) })
	}
}

// see comes before each look at what others store plainly. A buffer drains by
// itself at any time; nobody can tell, so it is enough if it does so here.
func (v aloneEnd) see(w *fuzz.World) {
	self := w.Thread()
	for p := range v.processes {
		asProcess(w, p, func() {
			if b := w.Private(apBuffer); b != 0 && w.Private(apSeat) != self {
				for range w.Choose(bits.OnesCount(uint(b)) + 1) {
					v.drainOne(w)
				}
			}
		})
	}
}

// plain is a store without a fence.
func (v aloneEnd) plain(w *fuzz.World, bit int) {
	b := w.Private(apBuffer)
	switch {
	case w.Private(apSeat) != w.Thread(): // by mistake: as if it drained at once
		v.store(w, bit)
	case b >= 2*bit:
		panic(fmt.Sprintf("a plain store of %d after %d", bit, b))
	default:
		w.SetPrivate(apBuffer, b|bit)
	}
}

// alive is Alive of member k's word for this end.
func (v aloneEnd) alive(w *fuzz.World, k int) bool { return !w.FullyDead(w.Get(aeLife + k - 1)) }

// publish makes this process's life the one that word k tells of.
func (v aloneEnd) publish(w *fuzz.World, k int) {
	w.Set(aeLife+k-1, w.Process())
	w.Set(aeDied, w.Get(aeDied)&^(1<<k))
}

// exit is the death of a thread. That of the guardian marks the members' words.
func (v aloneEnd) exit(w *fuzz.World) {
	if w.T == fuzz.GuardianThread {
		for k := 1; k <= aloneMembers; k++ {
			if w.Get(aeLife+k-1) == w.Process() {
				w.Set(aeDied, w.Get(aeDied)|1<<k)
				w.Wake(1, aeLife+k-1)
			}
		}
	}
	if sits := w.Private(apSeat); sits != 0 {
		t := sits - 1 - w.P*v.threads()
		if t == w.T || w.Gone(w.P, t) {
			v.drain(w)
		}
	}
}

func (v aloneEnd) threads() int {
	if v.wide > 0 {
		return 2
	}
	return 1
}

func (v aloneEnd) final(w *fuzz.World) error {
	v.fenceAll(w)
	if w.Get(aePos) != w.Get(aeCount) {
		return errLostPos
	}
	return nil
}
