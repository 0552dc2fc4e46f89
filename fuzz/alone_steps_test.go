package fuzz_test

import (
	"fmt"

	"github.com/rawipc/rawipc/fuzz"
)

// Steps, named for the functions of shm/alone.go, queuelock.go, queuewait.go and seat.go.
const (
	asStart = iota
	asClaim
	asOutlive
	asForgetBusy // and so on, for join and for Close
	asForgetUser
	asForgetLook
	asForgetWake
	asPublish
	asJoined
	asSit
	asBegin
	asTryBusy
	asBusy
	asBeginUser
	asMarked
	asYieldBusy
	asYieldMark
	asYieldLook
	asYieldWake
	asLock
	asTaken
	asForgetMark
	asArrive
	asEarly
	asAsk
	asFence
	asAwait
	asTurn
	asAwaitAgain
	asAwaitDying
	asWait
	asWoken
	asNoTurn
	asArrived
	asAlive
	asNext
	asMark
	asMarkBusy
	asMarkUser
	asMarkUnlock
	asPos
	asCommit
	asGive
	asIdle
	asFinishUser
	asUnlock
	asRise
	asShut
	asWithdraw
	asSteps
)

func (v aloneEnd) model() *fuzz.Model {
	m := &fuzz.Model{
		Name: fmt.Sprintf("end of a queue, %d processes, %d of two threads, %d and %d calls, %d crashes",
			v.processes, v.wide, v.first, v.each, v.crashes),
		Processes: v.processes, Threads: v.threads(), Guardian: true,
		Crashes: v.crashes, GiveUps: v.giveUps, Late: v.late,
		Cells: []fuzz.Cell{
			aeTurn: {Name: "turn"},
			aeLife: {Name: "life 1", Kind: fuzz.ProcessID}, {Name: "life 2", Kind: fuzz.ProcessID},
			{Name: "life 3", Kind: fuzz.ProcessID},
			aeClaim: {Name: "member 1", Kind: fuzz.ProcessID}, {Name: "member 2", Kind: fuzz.ProcessID},
			{Name: "member 3", Kind: fuzz.ProcessID},
			aeLock: {Name: "lock", Kind: fuzz.ProcessID}, aeDied: {Name: "died"},
			aeUser: {Name: "user"}, aeBusy: {Name: "busy"}, aePos: {Name: "pos"},
			aeCount: {Name: "commits"}, aeRoles: {Name: "roles"},
		},
		Private: []fuzz.Cell{
			apSeat: {Name: "seat", Kind: fuzz.ThreadID}, apAlone: {Name: "alone"}, apBuffer: {Name: "buffer"},
			apPos: {Name: "pos in it"}, apMe: {Name: "me"}, apJoin: {Name: "joined"}, apLeft: {Name: "threads"},
		},
		Registers: []fuzz.Cell{
			arLeft: {Name: "calls"}, arTry: {Name: "try"}, arSeated: {Name: "seated"}, arUser: {Name: "user"},
			arNext: {Name: "next"}, arBusy: {Name: "busy"}, arWatch: {Name: "watches", Kind: fuzz.ProcessID},
			arPos: {Name: "pos"}, arThen: {Name: "then"}, arFail: {Name: "fails"},
		},
		Exit: v.exit, Final: v.final,
	}
	m.Steps = make([]fuzz.Step, asSteps)
	for i, s := range map[int]fuzz.Step{
		asStart:      {Name: "start", Do: v.start},
		asClaim:      {Name: "join: claim", Do: v.claim},
		asOutlive:    {Name: "join: guardian lives", Do: v.outlive},
		asForgetBusy: {Name: "forget: CAS busy", Do: v.forgetBusy},
		asForgetUser: {Name: "forget: CAS user", Do: v.forgetUser},
		asForgetLook: {Name: "forget: swap turn, by mistake", Do: v.wakeLook(asForgetWake, v.forgot)},
		asForgetWake: {Name: "forget: wake", Do: v.wake(v.forgot), System: true},
		asPublish:    {Name: "join: publish", Do: v.published},
		asJoined:     {Name: "join: a member", Do: v.joined},
		asSit:        {Name: "sit: CAS", Do: v.sit},
		asBegin:      {Name: "begin: load alone", Do: v.begin},
		asTryBusy:    {Name: "tryTakeEnd: load busy", Do: v.tryBusy},
		asBusy:       {Name: "begin: store busy", Do: v.setBusy},
		asBeginUser:  {Name: "begin: load user", Do: v.beginUser},
		asMarked:     {Name: "takeEnd: load alone", Do: v.marked},
		asYieldBusy:  {Name: "yieldEnd: clear busy", Do: v.yieldBusy},
		asYieldMark:  {Name: "yieldEnd: clear alone", Do: v.yieldMark},
		asYieldLook:  {Name: "yieldEnd: swap turn", Do: v.wakeLook(asYieldWake, v.yielded)},
		asYieldWake:  {Name: "yieldEnd: wake", Do: v.wake(v.yielded), System: true},
		asLock:       {Name: "takeEnd: lock", Do: v.lock},
		asTaken:      {Name: "takeEnd: load user", Do: v.taken},
		asForgetMark: {Name: "takeEnd: clear alone", Do: v.forgetMark},
		asArrive:     {Name: "arrive: load user", Do: v.arrive},
		asEarly:      {Name: "arrive: load busy, too early", Do: v.early},
		asAsk:        {Name: "arrive: CAS user to asked", Do: v.ask},
		asFence:      {Name: "awaitTurn: membarrier", Do: v.membarrier, System: true},
		asAwait:      {Name: "awaitTurn: load busy", Do: v.await},
		asTurn:       {Name: "awaitTurn: set turn", Do: v.setTurn},
		asAwaitAgain: {Name: "awaitTurn: load life, busy", Do: v.awaitAgain},
		asAwaitDying: {Name: "awaitTurn: gone?", Do: v.awaitDying, System: true},
		asWait:       {Name: "awaitTurn: waitv", Do: v.wait, System: true},
		asWoken:      {Name: "awaitTurn: awake", Do: v.woken, System: true},
		asNoTurn:     {Name: "awaitTurn: clear turn", Do: v.noTurn},
		asArrived:    {Name: "arrive: clear alone", Do: v.arrived},
		asAlive:      {Name: "arrive: alive?", Do: v.aliveStill, System: true},
		asNext:       {Name: "arrive: CAS user to next", Do: v.next},
		asMark:       {Name: "goAlone: set alone", Do: v.mark},
		asMarkBusy:   {Name: "goAlone: store busy", Do: v.markBusy},
		asMarkUser:   {Name: "goAlone: store user", Do: v.markUser},
		asMarkUnlock: {Name: "goAlone: unlock", Do: v.markUnlock},
		asPos:        {Name: "load pos", Do: v.loadPos},
		asCommit:     {Name: "commit: store pos", Do: v.commit},
		asGive:       {Name: "commit: load alone", Do: v.give},
		asIdle:       {Name: "finish: clear busy", Do: v.idle},
		asFinishUser: {Name: "finish: load user", Do: v.finishUser},
		asUnlock:     {Name: "unlock", Do: v.unlock},
		asRise:       {Name: "rise", Do: v.rise},
		asShut:       {Name: "Close: shut", Do: v.shut},
		asWithdraw:   {Name: "Close: withdraw", Do: v.withdraw},
	} {
		m.Steps[i] = s
	}
	return m
}

func (v aloneEnd) start(w *fuzz.World) {
	if w.Dying(w.Process()) {
		return // before it has begun
	}
	if w.Private(apLeft) == 0 {
		n := w.Get(aeRoles)
		w.Set(aeRoles, n+1)
		w.SetPrivate(apLeft, v.threads())
		if v.wide > 0 && n >= v.wide {
			w.SetPrivate(apLeft, 1)
			w.T = 1 - w.T
			w.Finish()
			w.T = 1 - w.T
		}
		if n == 0 && v.ready {
			w.Set(aeClaim, w.Process())
			v.publish(w, 1)
			w.SetPrivate(apMe, 1)
			w.SetPrivate(apJoin, 2)
			w.SetPrivate(apAlone, 1)
			w.Set(aeUser, 1|userAlone)
		}
	}
	w.SetReg(arLeft, v.each)
	if w.Get(aeRoles) == 1 {
		w.SetReg(arLeft, v.first)
	}
	w.Goto(asClaim)
}

// claim is for the first call of a process; another one waits.
func (v aloneEnd) claim(w *fuzz.World) {
	switch w.Private(apJoin) {
	case 2:
		w.Goto(asSit)
		fallthrough
	case 1:
		return
	}
	for k := 1; k <= aloneMembers; k++ {
		if w.FullyDead(w.Get(aeClaim + k - 1)) {
			w.Set(aeClaim+k-1, w.Process())
			if v.sameWord {
				v.publish(w, k)
			}
			w.SetPrivate(apMe, k)
			w.SetPrivate(apJoin, 1)
			w.Goto(asOutlive)
			return
		}
	}
	w.Fail("no place for a member")
}

// outlive is a system call from which nobody comes back who was killed before.
func (v aloneEnd) outlive(w *fuzz.World) {
	switch {
	case w.Dying(w.Process()):
	case w.Reg(arThen) == asJoined:
		w.SetReg(arThen, 0)
		w.Goto(asJoined)
	case v.joinKeeps:
		v.forgot(w)
	default:
		w.Goto(asForgetBusy)
	}
}

func (v aloneEnd) forgetBusy(w *fuzz.World) {
	v.see(w)
	v.fence(w)
	if w.Get(aeBusy) == w.Private(apMe) {
		w.Set(aeBusy, 0)
	}
	w.Goto(asForgetUser)
}

func (v aloneEnd) forgetUser(w *fuzz.World) {
	if w.Get(aeUser)&userMask == w.Private(apMe) {
		w.Set(aeUser, 0)
	}
	w.Goto(asForgetLook)
	if !v.forgetTakes {
		v.forgot(w)
	}
}

func (v aloneEnd) forgot(w *fuzz.World) {
	switch {
	case w.Private(apJoin) == 2:
		w.Goto(asWithdraw)
	case v.sameWord:
		w.Goto(asJoined)
	default:
		w.Goto(asPublish)
	}
}

func (v aloneEnd) published(w *fuzz.World) {
	v.publish(w, w.Private(apMe))
	w.SetReg(arThen, asJoined)
	w.Goto(asOutlive)
}

func (v aloneEnd) joined(w *fuzz.World) {
	w.SetPrivate(apJoin, 2)
	w.Goto(asSit)
}

// wakeLook and wake are wakeEnd.
func (v aloneEnd) wakeLook(wake int, next func(*fuzz.World)) func(*fuzz.World) {
	return func(w *fuzz.World) {
		if w.Get(aeTurn) == 0 {
			next(w)
			return
		}
		v.fence(w)
		w.Set(aeTurn, 0)
		w.Goto(wake)
	}
}

func (v aloneEnd) wake(next func(*fuzz.World)) func(*fuzz.World) {
	return func(w *fuzz.World) {
		w.Wake(1, aeTurn)
		next(w)
	}
}

func (v aloneEnd) shut(w *fuzz.World) {
	v.see(w)
	v.fence(w)
	if w.Private(apSeat) != 0 {
		return
	}
	w.Goto(asForgetBusy)
}

func (v aloneEnd) withdraw(w *fuzz.World) {
	k := w.Private(apMe)
	if w.Get(aeLife+k-1) == w.Process() {
		w.Set(aeLife+k-1, 0)
		w.Wake(255, aeLife+k-1)
	}
	if w.Get(aeClaim+k-1) == w.Process() {
		w.Set(aeClaim+k-1, 0)
	}
	w.SetPrivate(apMe, 0)
	w.SetPrivate(apAlone, 0)
	w.Finish()
}
