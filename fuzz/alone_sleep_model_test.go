package fuzz_test

import (
	"fmt"
	"math/bits"

	"github.com/rawipc/rawipc/fuzz"
)

// aloneSleep is a receiver who sleeps while a sender goes over to commits without
// lock and fence, and another one asks for its end (shm/alone.go), with the ways
// in which it can be got wrong. How they share the end is for aloneEnd. The first
// process to start is that sender, the last one receives, until nobody is left to
// send and all is received.
type aloneSleep struct {
	first, other int // messages of the first sender, and of the other one, if any
	crashes      int
	giveUps      int // of calls of the other one that has come for the end
	late         fuzz.Late

	// Mistakes.
	noFence     bool // the receiver makes none
	earlyUser   bool // he looks at user before he stores sleeps
	earlyFence  bool // and makes the fence there
	trustAsked  bool // he makes none when somebody has asked
	trustOthers bool // who has asked makes none
	wakeFirst   bool // the sender looks whom to wake before it commits
	lateUser    bool // it stores user after its first commit without a fence
	plainUser   bool // it stores user without a fence, and unlocks without one
}

// Shared cells. The buffer is the first sender's, as in aloneEnd.
const (
	slSleeps = iota
	slTurn
	slLife // and one for the other sender
	slLife2
	slDied
	slLock
	slUser
	slBusy
	slPos
	slBuffer
	slBufPos
	slRoles
	slToSend // and not yet committed
	slCount  // of commits
	slGot    // the receiver's count
)

// What stands in the buffer by mistake, after all else.
const bufUser = bufFree

// Registers.
const (
	srMe = iota // number of the member
	srLeft
	srAlone
	srPlain // its call does without the lock
	srUser
	srDying
	srWatch
	srThen
	srQuiet // its call has committed nothing
)

const (
	slStart = iota
	slBegin
	slBeginUser
	slLockEnd
	slArrive
	slAsk
	slAskFence
	slAwait
	slSetTurn
	slWaitTurn
	slTake
	slGoBusy
	slGoUser
	slGoUnlock
	slEarlyLook
	slCommit
	slIdle
	slFinishUser
	slYield
	slYieldLook
	slYieldWake
	slUnlock
	slWakeLook
	slWake
	slRise
	slRecv
	slSetSleeps
	slWatch
	slLoadUser
	slFence
	slLookAgain
	slSleep
	slSteps
)

func (v aloneSleep) processes() int { return 2 + min(v.other, 1) }

func (v aloneSleep) model() *fuzz.Model {
	m := &fuzz.Model{
		Name:      fmt.Sprintf("sleeper and a sender alone, %d and %d messages, %d crashes", v.first, v.other, v.crashes),
		Processes: v.processes(), Threads: 1, Guardian: true,
		Crashes: v.crashes, GiveUps: v.giveUps, Late: v.late,
		Cells: []fuzz.Cell{
			slSleeps: {Name: "sleeps"}, slTurn: {Name: "turn"},
			slLife: {Name: "member 1", Kind: fuzz.ProcessID}, slLife2: {Name: "member 2", Kind: fuzz.ProcessID},
			slDied: {Name: "died"}, slLock: {Name: "lock", Kind: fuzz.ProcessID}, slUser: {Name: "user"},
			slBusy: {Name: "busy"}, slPos: {Name: "pos"}, slBuffer: {Name: "buffer"}, slBufPos: {Name: "pos in it"},
			slRoles: {Name: "roles"}, slToSend: {Name: "to send"}, slCount: {Name: "commits"}, slGot: {Name: "got"},
		},
		Private: []fuzz.Cell{{Name: "guardian gone"}},
		Registers: []fuzz.Cell{
			srMe: {Name: "me"}, srLeft: {Name: "left"}, srAlone: {Name: "alone"}, srPlain: {Name: "no lock"},
			srUser: {Name: "user"}, srDying: {Name: "dying"}, srWatch: {Name: "watches"}, srThen: {Name: "then"},
			srQuiet: {Name: "quiet"},
		},
		Exit: v.exit,
	}
	m.Steps = make([]fuzz.Step, slSteps)
	for i, s := range map[int]fuzz.Step{
		slStart:      {Name: "start", Do: v.start},
		slBegin:      {Name: "begin: store busy, if alone", Do: v.begin},
		slBeginUser:  {Name: "begin: load user", Do: v.beginUser},
		slLockEnd:    {Name: "takeEnd: lock", Do: v.lock},
		slArrive:     {Name: "arrive: load user", Do: v.arrive},
		slAsk:        {Name: "arrive: CAS user to asked", Do: v.ask},
		slAskFence:   {Name: "awaitTurn: membarrier", Do: v.askFence, System: true},
		slAwait:      {Name: "awaitTurn: load busy", Do: v.await(slTake, slSetTurn)},
		slSetTurn:    {Name: "awaitTurn: set turn", Do: v.setTurn},
		slWaitTurn:   {Name: "awaitTurn: load busy, waitv", Do: v.await(slTake, slWaitTurn), System: true},
		slTake:       {Name: "arrive: CAS user to next", Do: v.take},
		slGoBusy:     {Name: "goAlone: store busy", Do: v.goBusy},
		slGoUser:     {Name: "goAlone: store user", Do: v.goUser},
		slGoUnlock:   {Name: "goAlone: unlock", Do: v.goUnlock},
		slEarlyLook:  {Name: "load sleeps, too early", Do: v.wakeLook},
		slCommit:     {Name: "commit: store pos", Do: v.commit},
		slIdle:       {Name: "finish: clear busy", Do: v.idle},
		slFinishUser: {Name: "finish: load user", Do: v.finishUser},
		slYield:      {Name: "yieldEnd: clear busy, alone", Do: v.yield},
		slYieldLook:  {Name: "yieldEnd: swap turn", Do: v.yieldLook},
		slYieldWake:  {Name: "yieldEnd: wake", Do: v.yieldWake, System: true},
		slUnlock:     {Name: "commit: unlock", Do: v.unlock},
		slWakeLook:   {Name: "wake: swap sleeps", Do: v.wakeLook},
		slWake:       {Name: "wake: wake", Do: v.wake, System: true},
		slRise:       {Name: "return", Do: v.rise},
		slRecv:       {Name: "sleep: load pos", Do: v.recv},
		slSetSleeps:  {Name: "sleep: set sleeps", Do: v.setSleeps},
		slWatch:      {Name: "watch: list members", Do: v.watch},
		slLoadUser:   {Name: "settled: load user", Do: v.loadUser},
		slFence:      {Name: "settled: membarrier", Do: v.fence, System: true},
		slLookAgain:  {Name: "sleep: load pos again", Do: v.lookAgain},
		slSleep:      {Name: "sleep: waitv", Do: v.sleep, System: true},
	} {
		m.Steps[i] = s
	}
	return m
}

func (v aloneSleep) start(w *fuzz.World) {
	if w.Dying(w.Process()) {
		return // before it has begun
	}
	n := w.Get(slRoles)
	w.Set(slRoles, n+1)
	if n == v.processes()-1 {
		w.Goto(slRecv)
		return
	}
	w.Set(slLife+n, w.Process())
	w.SetReg(srMe, n+1)
	w.SetReg(srLeft, v.first)
	if n > 0 {
		w.SetReg(srLeft, v.other)
	}
	w.Set(slToSend, w.Get(slToSend)+w.Reg(srLeft))
	w.Goto(slBegin)
}

// drainOne, see and plain are as in aloneEnd.
func (v aloneSleep) drainOne(w *fuzz.World) {
	b := w.Get(slBuffer)
	bit := b & -b
	w.Set(slBuffer, b&^bit)
	switch bit {
	case bufBusy:
		w.Set(slBusy, 1)
	case bufPos:
		w.Set(slPos, w.Get(slBufPos))
		w.Set(slBufPos, 0)
	case bufIdle:
		w.Set(slBusy, 0)
	case bufUser:
		w.Set(slUser, 1|userAlone)
	}
}

func (v aloneSleep) drain(w *fuzz.World) {
	for w.Get(slBuffer) != 0 {
		v.drainOne(w)
	}
}

// locked is what a locked instruction does besides.
func (v aloneSleep) locked(w *fuzz.World) {
	if w.Reg(srMe) == 1 {
		v.drain(w)
	}
}

func (v aloneSleep) see(w *fuzz.World) {
	if w.Reg(srMe) != 1 {
		for range w.Choose(bits.OnesCount(uint(w.Get(slBuffer))) + 1) {
			v.drainOne(w)
		}
	}
}

func (v aloneSleep) plain(w *fuzz.World, bit int) { w.Set(slBuffer, w.Get(slBuffer)|bit) }

// exit marks a member's word as the guardian ends, and counts what it can't send.
func (v aloneSleep) exit(w *fuzz.World) {
	if w.T == fuzz.GuardianThread {
		for i := range 2 {
			if w.Get(slLife+i) == w.Process() {
				w.Set(slDied, w.Get(slDied)|1<<i)
				w.Wake(255, slLife+i)
			}
		}
		return
	}
	v.locked(w)
	w.Set(slToSend, w.Get(slToSend)-w.Reg(srLeft))
	v.settle(w)
}

// settle ends the stream, as if by somebody who lives, when all is received.
func (v aloneSleep) settle(w *fuzz.World) {
	if w.Get(slToSend) == 0 && w.Get(slGot) == w.Get(slCount) {
		w.Set(slSleeps, 0)
		w.Wake(255, slSleeps)
	}
}

// The receiver.

func (v aloneSleep) recv(w *fuzz.World) {
	v.see(w)
	w.Set(slGot, w.Get(slPos))
	w.SetReg(srUser, 0)
	w.SetReg(srDying, 0)
	switch {
	case w.Get(slToSend) == 0 && w.Get(slGot) == w.Get(slCount):
		w.Finish()
	case v.earlyUser || v.earlyFence:
		w.Goto(slLoadUser)
	default:
		w.Goto(slSetSleeps)
	}
}

func (v aloneSleep) setSleeps(w *fuzz.World) {
	w.Set(slSleeps, 1)
	w.Goto(slWatch)
}

func (v aloneSleep) watch(w *fuzz.World) {
	w.SetReg(srWatch, 0)
	for i := range 2 {
		switch p := w.Get(slLife + i); {
		case p == 0:
		case w.Get(slDied)&(1<<i) == 0:
			w.SetReg(srWatch, w.Reg(srWatch)|1<<i)
		case !w.FullyDead(p):
			w.SetReg(srDying, 1)
		}
	}
	switch {
	case v.earlyUser && w.Reg(srUser)&userAlone != 0:
		w.Goto(slFence)
	case v.earlyUser || v.earlyFence:
		w.Goto(slLookAgain)
	default:
		w.Goto(slLoadUser)
	}
}

func (v aloneSleep) loadUser(w *fuzz.World) {
	v.see(w)
	u := w.Get(slUser)
	switch fence := u&userAlone != 0 && (u&userAsked == 0 || !v.trustAsked); {
	case v.earlyUser:
		w.SetReg(srUser, u)
		w.Goto(slSetSleeps)
	case fence && !v.noFence:
		w.Goto(slFence)
	case v.earlyFence:
		w.Goto(slSetSleeps)
	default:
		w.Goto(slLookAgain)
	}
}

func (v aloneSleep) fence(w *fuzz.World) {
	v.drain(w)
	w.SetReg(srUser, 0)
	w.Goto(slLookAgain)
	if v.earlyFence {
		w.Goto(slSetSleeps)
	}
}

func (v aloneSleep) lookAgain(w *fuzz.World) {
	v.see(w)
	w.SetReg(srUser, 0)
	end := w.Get(slToSend) == 0 && w.Get(slGot) == w.Get(slCount)
	switch {
	case w.Get(slPos) != w.Get(slGot) || end || w.Reg(srDying) != 0: // a nap
		w.Set(slSleeps, 0)
		w.SetReg(srWatch, 0)
		w.Goto(slRecv)
	default:
		w.Goto(slSleep)
	}
}

func (v aloneSleep) sleep(w *fuzz.World) {
	same, cells := w.Get(slSleeps) == 1, []int{slSleeps}
	for i := range 2 {
		if w.Reg(srWatch)&(1<<i) != 0 {
			same = same && w.Get(slDied)&(1<<i) == 0
			cells = append(cells, slLife+i)
		}
	}
	w.SetReg(srWatch, 0)
	w.Goto(slRecv)
	if same {
		w.Sleep(slRecv, cells...)
	}
}
