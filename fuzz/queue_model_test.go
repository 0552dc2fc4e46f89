package fuzz_test

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/rawipc/rawipc/fuzz"
)

// queue is what the queues of package shm have in common, for one message at a
// time, with the ways in which it can be got wrong. The first processes to
// start send each so many messages, the next ones call CloseSend, the others
// receive until the stream ends, and the last ones, the notifiers, wait once
// until there is something to receive. When nobody is left to send and nothing left to
// receive, or nobody to receive, the stream ends as if by somebody who lives;
// never while there is a message that somebody should have been woken for.
//
// The locks are robust, and modelled elsewhere: who wants one gets it when it is
// free or its holder gone to the last thread. A member has one word here for
// all ends, whose change wakes all: at each end there is one sleeper at most.
type queue struct {
	senders, each, closers, receivers, notifiers int

	crashes, giveUps int
	late             fuzz.Late
	spurious         bool
	leave            bool // who gives up does not call again

	// Mistakes.
	joinClears  bool // who joins clears sleeps, then wakes
	joinKeeps   bool // who joins wakes, and leaves sleeps as it is
	joinQuiet   bool // who joins rouses nobody
	joinLate    bool // who joins does not make sure that its guardian lives
	watchNobody bool // a sleeper sleeps on its own word only
	lookFirst   bool // a sleeper looks at the queue, then sets sleeps
	hasty       bool // a sleeper does not wait for the end of who is dying
	wakeFirst   bool // the wake comes before the commit
	openEnd     bool // CloseSend stores the end without the lock
	posFirst    bool // a receiver looks at the queue, then whether it has ended
	helpless    bool // no receiver ends what a dead process began to end
	takeDying   bool // a lock goes to the next when its holder is dying, not gone

	// Those of a notifier.
	oneWord   bool // who ceases to wait for a message clears armed too
	eitherOne bool // a wake is for the receiver, or else for the notifier
	unwatched bool // a notifier sleeps on its own word only
	armLate   bool // a notifier looks at the queue, then sets armed
	joinDeaf  bool // who joins does not rouse the notifier
	clearLate bool // a notifier unlocks, then clears armed
	silentEnd bool // CloseSend does not wake the notifier
}

const queueMembers = 4

// Shared cells.
const (
	quSleeps = iota                  // one for each end; the third is armed
	quLife   = quSleeps + 3          // one for each member
	quLock   = quLife + queueMembers // one for each end
	quPos    = quLock + 3            // likewise, but for the third
	quDied   = quPos + 2 + iota - 4  // the members' words that the kernel marked
	quSlot                           // the message
	quEnding
	quRoles // roles taken
	quGot   // messages that a receiver has returned
)

// Registers.
const (
	quRole  = iota // 1 more than the process's own end, or 4: it closes
	quLeft         // messages still to send
	quDying        // one of the members is
	quMsg          // the message in hand
	quEnded        // the stream had ended
	quWatch        // whom it watches, one for each member
)

const (
	sending = iota + 1
	receiving
	noticing
	closing
)

// Steps, named for the functions of shm/queue*.go.
const (
	qsStart = iota
	qsJoin
	qsJoinCall
	qsJoinLook // for each end
	qsJoinLook2
	qsJoinWake
	qsJoinWake2
	qsJoinLook3
	qsJoinWake3
	qsLock
	qsReadyEnded
	qsReady
	qsCopy
	qsCommit
	qsUnlock
	qsWakeLook
	qsWake
	qsTellLook
	qsTell
	qsReturn
	qsQuit // unlock, and the end
	qsBlocked
	qsSleeps
	qsList
	qsLook
	qsSleep
	qsAwake
	qsGiveUp
	qsCleared
	qsHelpLock
	qsHelpStore
	qsHelpUnlock
	qsClose
	qsCloseLook
	qsCloseWake
	qsCloseLock
	qsCloseStore
	qsCloseUnlock
	qsEndLook
	qsEndWake
	qsEndTellLook
	qsEndTell
	qsEnd
	qsNotice
	qsNoticeClear
)

var (
	errTooLate  = errors.New("a message was sent after the end")
	errTooEarly = errors.New("an end before the last message")
	errNotOnce  = errors.New("a message came twice, or overwritten, or not at all")
)

func (v queue) model() *fuzz.Model {
	m := &fuzz.Model{
		Name: fmt.Sprintf("queue, %d×%d senders, %d closers, %d receivers, %d notifiers, %d crashes",
			v.senders, v.each, v.closers, v.receivers, v.notifiers, v.crashes),
		Processes: v.processes(), Threads: 1, Guardian: true,
		Crashes: v.crashes, GiveUps: v.giveUps, Late: v.late, Spurious: v.spurious,
		Cells: []fuzz.Cell{
			quSleeps: {Name: "sender sleeps"}, {Name: "receiver sleeps"}, {Name: "armed"},
			quLife: {Name: "member 0", Kind: fuzz.ProcessID}, {Name: "member 1", Kind: fuzz.ProcessID},
			{Name: "member 2", Kind: fuzz.ProcessID}, {Name: "member 3", Kind: fuzz.ProcessID},
			quLock: {Name: "send lock", Kind: fuzz.ProcessID}, {Name: "recv lock", Kind: fuzz.ProcessID},
			{Name: "notify lock", Kind: fuzz.ProcessID},
			quPos: {Name: "sent"}, {Name: "received"},
			quDied: {Name: "died"}, quSlot: {Name: "slot"}, quEnding: {Name: "ending"},
			quRoles: {Name: "roles"}, quGot: {Name: "got"},
		},
		Private: []fuzz.Cell{{Name: "guardian gone"}},
		Registers: []fuzz.Cell{
			quRole: {Name: "role"}, quLeft: {Name: "left"}, quDying: {Name: "dying"},
			quMsg: {Name: "message"}, quEnded: {Name: "ended"},
			quWatch: {Name: "watches", Kind: fuzz.ProcessID}, {Name: "and", Kind: fuzz.ProcessID},
			{Name: "and", Kind: fuzz.ProcessID}, {Name: "and", Kind: fuzz.ProcessID},
		},
		Exit: v.exit, Final: v.final,
	}
	commitNext, wakeNext := qsUnlock, qsReturn
	unlockNext := qsWakeLook
	copyNext := qsCommit
	if v.wakeFirst {
		copyNext, wakeNext, unlockNext = qsWakeLook, qsCommit, qsReturn
	}
	look3, tell, endTell := qsJoinLook3, qsTellLook, qsEndTellLook
	if v.notifiers == 0 || v.joinDeaf {
		look3 = qsLock
	}
	if v.notifiers == 0 {
		tell = wakeNext
	}
	if v.notifiers == 0 || v.silentEnd {
		endTell = qsEnd
	}
	woke := tell
	if v.eitherOne {
		woke = wakeNext
	}
	joinNext, called := qsJoinCall, qsJoinLook
	if v.joinQuiet {
		called = qsLock
	}
	if v.joinLate {
		joinNext = called
	}
	m.Steps = []fuzz.Step{
		qsStart:       {Name: "start", Do: v.start},
		qsJoin:        {Name: "join: publish", Do: v.join(joinNext)},
		qsJoinCall:    {Name: "join: guardian lives", Do: v.joinCall(called)},
		qsJoinLook:    {Name: "join: sender sleeps?", Do: v.joinLook(0, qsJoinWake, qsJoinLook2)},
		qsJoinWake:    {Name: "join: wake the sender", Do: v.wake(0, qsJoinLook2), System: true},
		qsJoinLook2:   {Name: "join: receiver sleeps?", Do: v.joinLook(1, qsJoinWake2, look3)},
		qsJoinWake2:   {Name: "join: wake the receiver", Do: v.wake(1, look3), System: true},
		qsJoinLook3:   {Name: "join: armed?", Do: v.joinLook(2, qsJoinWake3, qsLock)},
		qsJoinWake3:   {Name: "join: wake the notifier", Do: v.wake(2, qsLock), System: true},
		qsLock:        {Name: "lock", Do: v.lock},
		qsReadyEnded:  {Name: "ready: ended?", Do: v.readyEnded},
		qsReady:       {Name: "free, ready: look", Do: v.ready},
		qsCopy:        {Name: "copy", Do: v.copy(copyNext)},
		qsCommit:      {Name: "commit: store pos", Do: v.commit(commitNext)},
		qsUnlock:      {Name: "commit: unlock", Do: v.unlock(unlockNext)},
		qsWakeLook:    {Name: "commit: swap sleeps", Do: v.wakeLook(-1, qsWake, tell)},
		qsWake:        {Name: "commit: wake", Do: v.wake(-1, woke), System: true},
		qsTellLook:    {Name: "commit: swap armed", Do: v.tellLook(qsTell, wakeNext)},
		qsTell:        {Name: "commit: wake the notifier", Do: v.wake(2, wakeNext), System: true},
		qsReturn:      {Name: "return", Do: v.ret},
		qsQuit:        {Name: "unlock, return the end", Do: v.quit},
		qsBlocked:     {Name: "await: blocked?", Do: v.blocked(qsSleeps)},
		qsSleeps:      {Name: "await: set sleeps", Do: v.setSleeps},
		qsList:        {Name: "await: list members", Do: v.list},
		qsLook:        {Name: "await: blocked still?", Do: v.blocked(qsSleep)},
		qsSleep:       {Name: "await: waitv", Do: v.sleep, System: true},
		qsAwake:       {Name: "await: awake", Do: v.awake, System: true},
		qsGiveUp:      {Name: "give up: clear sleeps, unlock", Do: v.giveUp},
		qsCleared:     {Name: "await: clear sleeps", Do: v.cleared},
		qsHelpLock:    {Name: "help: lock the sending end", Do: v.lockEnd(0, qsHelpStore)},
		qsHelpStore:   {Name: "help: ended", Do: v.store(qsHelpUnlock)},
		qsHelpUnlock:  {Name: "help: unlock", Do: v.helped},
		qsClose:       {Name: "CloseSend: ending", Do: v.close},
		qsCloseLook:   {Name: "CloseSend: swap sender's sleeps", Do: v.wakeLook(0, qsCloseWake, qsCloseLock)},
		qsCloseWake:   {Name: "CloseSend: wake the sender", Do: v.wake(0, qsCloseLock), System: true},
		qsCloseLock:   {Name: "CloseSend: lock", Do: v.lockEnd(0, qsCloseStore)},
		qsCloseStore:  {Name: "CloseSend: ended", Do: v.store(qsCloseUnlock)},
		qsCloseUnlock: {Name: "CloseSend: unlock", Do: v.unlockEnd(0, qsEndLook)},
		qsEndLook:     {Name: "CloseSend: swap receiver's sleeps", Do: v.wakeLook(1, qsEndWake, endTell)},
		qsEndWake:     {Name: "CloseSend: wake the receiver", Do: v.wake(1, endTell), System: true},
		qsEndTellLook: {Name: "CloseSend: swap armed", Do: v.wakeLook(2, qsEndTell, qsEnd)},
		qsEndTell:     {Name: "CloseSend: wake the notifier", Do: v.wake(2, qsEnd), System: true},
		qsEnd:         {Name: "CloseSend: return", Do: v.end},
		qsNotice:      {Name: "notice: unlock", Do: v.notice},
		qsNoticeClear: {Name: "notice: clear armed, too late", Do: v.noticeClear},
	}
	if v.openEnd {
		m.Steps[qsCloseLock].Do = func(w *fuzz.World) { w.Goto(qsCloseStore) }
		m.Steps[qsCloseUnlock].Do = func(w *fuzz.World) { w.Goto(qsEndLook) }
	}
	return m
}

func (v queue) processes() int { return v.senders + v.closers + v.receivers + v.notifiers }

// mine is the end of this process's role.
func mine(w *fuzz.World) int { return w.Reg(quRole) - 1 }

func (v queue) used(w *fuzz.World) int { return w.Get(quPos) - w.Get(quPos+1) }

func (v queue) start(w *fuzz.World) {
	n := w.Get(quRoles)
	w.Set(quRoles, n+1)
	switch {
	case n < v.senders:
		w.SetReg(quRole, sending)
		w.SetReg(quLeft, v.each)
	case n < v.senders+v.closers:
		w.SetReg(quRole, closing)
	case n < v.senders+v.closers+v.receivers:
		w.SetReg(quRole, receiving)
	default:
		w.SetReg(quRole, noticing)
	}
	w.Goto(qsJoin)
}

func (v queue) join(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		for i := range queueMembers {
			if w.FullyDead(w.Get(quLife + i)) {
				w.Set(quLife+i, w.Process())
				w.Set(quDied, w.Get(quDied)&^(1<<i))
				w.Goto(next)
				return
			}
		}
		w.Fail("no place for a member")
	}
}

// joinCall is a system call from which nobody comes back who was killed before.
func (v queue) joinCall(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		if w.Dying(w.Process()) {
			return
		}
		w.Goto(next)
		if next == qsLock {
			v.begin(w)
		}
	}
}

// begin goes to the first step of a process's role.
func (v queue) begin(w *fuzz.World) {
	w.Goto(qsLock)
	if w.Reg(quRole) == closing {
		w.Goto(qsClose)
	}
}

func (v queue) joinLook(end, wake, next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		switch {
		case w.Get(quSleeps+end) != 0:
			if w.Set(quSleeps+end, 2); v.joinClears {
				w.Set(quSleeps+end, 0)
			} else if v.joinKeeps {
				w.Set(quSleeps+end, 1)
			}
			w.Goto(wake)
		case next == qsLock:
			v.begin(w)
		default:
			w.Goto(next)
		}
	}
}

// wakeLook is the first half of wake, for an end or, if that is negative, for
// the other one than this process's.
func (v queue) wakeLook(end, wake, next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		e := end
		if e < 0 {
			e = 1 - mine(w)
		}
		w.Goto(next)
		if w.Get(quSleeps+e) != 0 {
			w.Set(quSleeps+e, 0)
			w.Goto(wake)
		}
	}
}

func (v queue) wake(end, next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		e := end
		if e < 0 {
			e = 1 - mine(w)
		}
		w.Wake(1, quSleeps+e)
		w.Goto(next)
		if next == qsLock {
			v.begin(w)
		}
	}
}

// tellLook is wakeLook for the notifier, which only who sends wakes.
func (v queue) tellLook(wake, next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		if w.Reg(quRole) != sending {
			w.Goto(next)
			return
		}
		v.wakeLook(2, wake, next)(w)
	}
}

func (v queue) lockEnd(end, next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		owner := w.Get(quLock + end)
		if w.FullyDead(owner) || v.takeDying && w.Dying(owner) {
			w.Set(quLock+end, w.Process())
			w.Goto(next)
		}
	}
}

func (v queue) unlockEnd(end, next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		w.Set(quLock+end, 0)
		w.Goto(next)
	}
}

func (v queue) lock(w *fuzz.World) {
	next := qsReady
	switch {
	case w.Reg(quRole) == noticing:
		next = qsBlocked
	case w.Reg(quRole) == receiving && !v.posFirst:
		next = qsReadyEnded
	}
	v.lockEnd(mine(w), next)(w)
}

// helped goes on where the end was missing.
func (v queue) helped(w *fuzz.World) {
	next := qsReadyEnded
	if w.Reg(quRole) == noticing {
		next = qsNotice
	}
	v.unlockEnd(0, next)(w)
}

func (v queue) unlock(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) { v.unlockEnd(mine(w), next)(w) }
}

// readyEnded is the receiver's look whether the stream has ended.
func (v queue) readyEnded(w *fuzz.World) {
	ended := 0
	if w.Get(quEnding) == 2 {
		ended = 1
	}
	w.SetReg(quEnded, ended)
	w.Goto(qsReady)
	if v.posFirst {
		w.SetReg(quEnded, 0)
		v.nothing(w, ended == 1)
	}
}

// nothing is what a receiver does that has found the queue empty.
func (v queue) nothing(w *fuzz.World, ended bool) {
	if !ended {
		w.Goto(qsBlocked)
		return
	}
	w.Goto(qsQuit)
	if v.used(w) != 0 {
		w.Fail("%w", errTooEarly)
	}
}

func (v queue) ready(w *fuzz.World) {
	ended := w.Reg(quEnded) == 1
	w.SetReg(quEnded, 0)
	switch sender := w.Reg(quRole) == sending; {
	case sender && w.Get(quEnding) != 0:
		w.Goto(qsQuit)
	case sender && v.used(w) == 1:
		w.Goto(qsBlocked)
	case !sender && v.used(w) == 0 && v.posFirst:
		w.Goto(qsReadyEnded)
	case !sender && v.used(w) == 0:
		v.nothing(w, ended)
	default:
		w.Goto(qsCopy)
	}
}

// copy moves a message, whose name is its position, in or out.
func (v queue) copy(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		w.SetReg(quMsg, w.Get(quPos+mine(w))+1)
		if w.Reg(quRole) == sending {
			w.Set(quSlot, w.Reg(quMsg))
		} else if w.Get(quSlot) != w.Reg(quMsg) {
			w.Fail("%w", errNotOnce)
		}
		w.Goto(next)
	}
}

func (v queue) commit(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		w.Goto(next)
		w.Set(quPos+mine(w), w.Reg(quMsg))
		if w.Reg(quRole) == receiving {
			v.settle(w)
			return
		}
		w.SetReg(quMsg, 0)
		if w.Get(quEnding) == 2 {
			w.Fail("%w", errTooLate)
		}
	}
}

func (v queue) ret(w *fuzz.World) {
	if w.Reg(quRole) == sending {
		if n := w.Reg(quLeft) - 1; n > 0 {
			w.SetReg(quLeft, n)
			w.Goto(qsLock)
			return
		}
		v.end(w)
		return
	}
	bit := 1 << (w.Reg(quMsg) - 1)
	if w.Get(quGot)&bit != 0 {
		w.Fail("%w", errNotOnce)
	}
	w.Set(quGot, w.Get(quGot)|bit)
	w.SetReg(quMsg, 0)
	w.Goto(qsLock)
}

func (v queue) quit(w *fuzz.World) {
	w.Set(quLock+mine(w), 0)
	v.end(w)
}

func (v queue) end(w *fuzz.World) {
	w.SetReg(quRole, 0)
	w.Finish()
	v.settle(w)
}

// isBlocked is what await is called with.
func (v queue) isBlocked(w *fuzz.World) bool {
	full := w.Reg(quRole) == sending && v.used(w) == 1
	empty := w.Reg(quRole) != sending && v.used(w) == 0
	return (full || empty) && w.Get(quEnding) == 0
}

func (v queue) blocked(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		switch {
		case (v.lookFirst || v.armLate && w.Reg(quRole) == noticing) && next == qsSleep: // it has looked
		case !v.isBlocked(w):
			forget(w)
			w.Goto(qsCleared)
			return
		}
		w.Goto(next)
		if w.Reg(quDying) != 0 { // a nap
			forget(w)
			w.Goto(qsBlocked)
			if w.GiveUp() {
				w.Goto(qsGiveUp)
			}
		}
	}
}

func (v queue) setSleeps(w *fuzz.World) {
	w.Set(quSleeps+mine(w), 1)
	w.Goto(qsList)
}

func (v queue) list(w *fuzz.World) {
	w.Goto(qsLook)
	if v.watchNobody || v.unwatched && w.Reg(quRole) == noticing {
		return
	}
	for i := range queueMembers {
		switch p := w.Get(quLife + i); {
		case p == 0 || p == w.Process():
		case w.Get(quDied)&(1<<i) == 0:
			w.SetReg(quWatch+i, p)
		case w.FullyDead(p):
			w.Set(quLife+i, 0)
			w.Set(quDied, w.Get(quDied)&^(1<<i))
		case !v.hasty:
			w.SetReg(quDying, 1)
		}
	}
}

func forget(w *fuzz.World) {
	for i := range queueMembers {
		w.SetReg(quWatch+i, 0)
	}
	w.SetReg(quDying, 0)
}

func (v queue) sleep(w *fuzz.World) {
	cells := []int{quSleeps + mine(w)}
	same := w.Get(quSleeps+mine(w)) == 1
	for i := range queueMembers {
		if p := w.Reg(quWatch + i); p != 0 {
			same = same && w.Get(quLife+i) == p && w.Get(quDied)&(1<<i) == 0
			cells = append(cells, quLife+i)
		}
	}
	forget(w)
	w.Goto(qsBlocked)
	if same {
		w.Sleep(qsAwake, cells...)
	}
}

func (v queue) awake(w *fuzz.World) {
	w.Goto(qsBlocked)
	if w.Wakeup() == fuzz.Cancelled {
		w.Goto(qsGiveUp)
	}
}

// giveUp ends a call; the next one begins.
func (v queue) giveUp(w *fuzz.World) {
	if v.clearLate && w.Reg(quRole) == noticing {
		v.notice(w)
		return
	}
	if w.Get(quSleeps+mine(w)) != 0 {
		v.clear(w)
		return
	}
	w.Set(quLock+mine(w), 0)
	w.Goto(qsLock)
	if v.leave {
		v.end(w)
	}
}

// clear is the end of a wait.
func (v queue) clear(w *fuzz.World) {
	w.Set(quSleeps+mine(w), 0)
	if v.oneWord && w.Reg(quRole) == receiving {
		w.Set(quSleeps+2, 0)
	}
}

func (v queue) cleared(w *fuzz.World) {
	if !v.clearLate || w.Reg(quRole) != noticing {
		v.clear(w)
	}
	switch help := w.Get(quEnding) == 1 && v.used(w) == 0; {
	case w.Reg(quRole) == noticing && help:
		w.Goto(qsHelpLock)
	case w.Reg(quRole) == noticing:
		w.Goto(qsNotice)
	case w.Reg(quRole) == sending, v.posFirst && w.Get(quEnding) != 1:
		w.Goto(qsReady)
	case w.Get(quEnding) == 1 && !v.helpless:
		w.Goto(qsHelpLock)
	default:
		w.Goto(qsReadyEnded)
	}
}

// notice is the end of a notifier. It has been told, and there was something.
func (v queue) notice(w *fuzz.World) {
	w.Set(quLock+2, 0)
	if v.clearLate {
		w.Goto(qsNoticeClear)
		return
	}
	v.end(w)
}

func (v queue) noticeClear(w *fuzz.World) {
	w.Set(quSleeps+2, 0)
	v.end(w)
}

func (v queue) close(w *fuzz.World) {
	w.Set(quEnding, max(w.Get(quEnding), 1))
	w.Goto(qsCloseLook)
}

func (v queue) store(next int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		w.Set(quEnding, 2)
		w.Goto(next)
	}
}

// exit is what the kernel does to a member's words when the guardian ends.
func (v queue) exit(w *fuzz.World) {
	last := w.Private(0) == 1
	if w.T == fuzz.GuardianThread {
		last = w.Gone(w.P, 0)
		w.SetPrivate(0, 1)
		for i := range queueMembers {
			if w.Get(quLife+i) == w.Process() {
				w.Set(quDied, w.Get(quDied)|1<<i)
				w.Wake(255, quLife+i)
			}
		}
	}
	if last {
		if w.T != fuzz.GuardianThread {
			w.SetReg(quRole, 0)
		}
		v.settle(w)
	}
}

// settle ends the stream when there is nothing left to happen.
func (v queue) settle(w *fuzz.World) {
	senders, receivers, idle := 0, 0, 0
	for p := range v.processes() {
		switch role := w.RegOf(p, 0, quRole); {
		case role == sending:
			senders++
		case role == receiving, role == noticing:
			receivers++
		case role == 0 && w.At(p, 0) == qsStart && !w.Dying(p+1):
			idle++
		}
	}
	if w.Get(quRoles) < v.senders {
		senders += idle
	}
	if w.Get(quRoles)+idle > v.senders+v.closers {
		receivers += idle
	}
	switch {
	case w.Get(quEnding) != 0:
	case receivers == 0:
		w.Set(quEnding, 1)
		w.Set(quSleeps, 0)
		w.Wake(255, quSleeps)
	case senders == 0 && v.used(w) == 0:
		w.Set(quEnding, 2)
		w.Set(quSleeps+1, 0)
		w.Wake(255, quSleeps+1)
		w.Set(quSleeps+2, 0)
		w.Wake(255, quSleeps+2)
	}
}

func (v queue) final(w *fuzz.World) error {
	dead := 0
	for p := range v.processes() {
		if w.Dying(p + 1) {
			dead++
		}
	}
	if lost := w.Get(quPos+1) - bits.OnesCount(uint(w.Get(quGot))); lost > dead {
		return fmt.Errorf("%w: %d of %d lost, %d dead", errNotOnce, lost, w.Get(quPos+1), dead)
	}
	return nil
}
