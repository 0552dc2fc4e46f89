package fuzz_test

import "github.com/rawipc/rawipc/fuzz"

// The steps of a call at the end that aloneEnd models.

func (v aloneEnd) sit(w *fuzz.World) {
	v.see(w)
	v.fence(w)
	if v.try {
		w.SetReg(arTry, w.Choose(2))
	}
	if w.Private(apSeat) == 0 {
		w.SetPrivate(apSeat, w.Thread())
		w.SetReg(arSeated, 1)
	}
	w.Goto(asBegin)
}

func (v aloneEnd) begin(w *fuzz.World) {
	v.see(w)
	marked := w.Private(apAlone) != 0
	switch {
	case !marked:
		w.Goto(asLock)
	case w.Reg(arSeated) != 0 && v.userFirst:
		w.Goto(asBeginUser)
	case w.Reg(arSeated) != 0:
		w.Goto(asBusy)
	case w.Reg(arTry) != 0:
		w.Goto(asTryBusy)
	default:
		w.Goto(asLock)
	}
}

func (v aloneEnd) tryBusy(w *fuzz.World) {
	v.see(w)
	w.Goto(asLock)
	if w.Get(aeBusy) == w.Private(apMe) {
		w.Goto(asRise)
	}
}

func (v aloneEnd) setBusy(w *fuzz.World) {
	v.plain(w, bufBusy)
	w.Goto(asBeginUser)
	if v.userFirst {
		w.Goto(asPos)
	}
}

// mine reports whether the member is alone still.
func (v aloneEnd) mine(w *fuzz.World) bool { return w.Get(aeUser) == w.Private(apMe)|userAlone }

func (v aloneEnd) beginUser(w *fuzz.World) {
	switch {
	case !v.mine(w):
		w.Goto(asMarked)
	case v.userFirst:
		w.Goto(asBusy)
	default:
		w.Goto(asPos)
	}
}

func (v aloneEnd) marked(w *fuzz.World) {
	w.Goto(asLock)
	if w.Private(apAlone) != 0 {
		w.SetReg(arThen, asLock)
		v.yield(w)
	}
}

func (v aloneEnd) yield(w *fuzz.World) {
	w.Goto(asYieldBusy)
	if v.wakeFirst {
		w.Goto(asYieldLook)
	}
}

func (v aloneEnd) yieldBusy(w *fuzz.World) {
	v.plain(w, bufIdle)
	w.Goto(asYieldMark)
}

func (v aloneEnd) yieldMark(w *fuzz.World) {
	if v.noStop {
		v.plain(w, bufNotAlone)
	} else {
		v.drain(w)
		w.SetPrivate(apAlone, 0)
	}
	w.Goto(asYieldLook)
	if v.wakeFirst {
		w.Goto(w.Reg(arThen))
		w.SetReg(arThen, 0)
	}
}

func (v aloneEnd) yielded(w *fuzz.World) {
	if v.wakeFirst {
		w.Goto(asYieldBusy)
		return
	}
	w.Goto(w.Reg(arThen))
	w.SetReg(arThen, 0)
}

func (v aloneEnd) lock(w *fuzz.World) {
	free := w.FullyDead(w.Get(aeLock))
	switch {
	case w.Reg(arTry) != 0 && !free, w.Reg(arTry) == 0 && w.GiveUp():
		w.Goto(asRise)
	case free:
		v.fence(w)
		w.Set(aeLock, w.Process())
		w.Goto(asTaken)
	}
}

func (v aloneEnd) taken(w *fuzz.World) {
	v.see(w)
	switch {
	case w.Get(aeUser) != userAll:
		w.Goto(asArrive)
	case w.Private(apAlone) != 0 && !v.keepMark:
		w.Goto(asForgetMark)
	default:
		w.Goto(asPos)
	}
}

func (v aloneEnd) forgetMark(w *fuzz.World) {
	v.fence(w)
	w.SetPrivate(apAlone, 0)
	w.Goto(asPos)
}

func (v aloneEnd) arrive(w *fuzz.World) {
	u, me, seated := w.Get(aeUser), w.Private(apMe), w.Reg(arSeated) != 0
	w.SetReg(arUser, u)
	switch k := u & userMask; {
	case u == userAll:
		w.Goto(asPos)
	case u == me:
		w.Goto(asPos)
		if seated && w.Choose(2) == 1 {
			w.Goto(asMark)
		}
	case k == 0 && u != 0:
		w.Fail("%d uses the end", u)
	case k == me && (seated || v.trustOwn), u&userAlone == 0, v.trustAsked && u&userAsked != 0:
		w.Goto(asAlive)
	case v.busyFirst:
		w.Goto(asEarly)
	default:
		w.Goto(asAsk)
	}
}

func (v aloneEnd) early(w *fuzz.World) {
	v.see(w)
	w.SetReg(arBusy, w.Get(aeBusy))
	w.Goto(asAsk)
}

func (v aloneEnd) ask(w *fuzz.World) {
	v.fence(w)
	if w.Get(aeUser) != w.Reg(arUser) {
		w.Goto(asArrive)
		return
	}
	w.Set(aeUser, w.Reg(arUser)|userAsked)
	w.SetReg(arUser, w.Reg(arUser)|userAsked)
	switch {
	case v.busyFirst && w.Reg(arBusy) != v.user(w):
		w.Goto(asArrived)
	case v.noFence:
		w.Goto(asAwait)
	default:
		w.Goto(asFence)
	}
	w.SetReg(arBusy, 0)
}

func (v aloneEnd) membarrier(w *fuzz.World) {
	v.fenceAll(w)
	w.Goto(asAwait)
}

// user is the member that is asked.
func (v aloneEnd) user(w *fuzz.World) int { return w.Reg(arUser) & userMask }

func (v aloneEnd) await(w *fuzz.World) {
	v.see(w)
	switch {
	case w.Get(aeBusy) != v.user(w):
		w.Goto(asNoTurn)
	case v.lateTurn:
		w.Goto(asAwaitAgain)
	default:
		w.Goto(asTurn)
	}
}

func (v aloneEnd) setTurn(w *fuzz.World) {
	v.fence(w)
	w.Set(aeTurn, 1)
	w.Goto(asAwaitAgain)
	if v.lateTurn {
		w.Goto(asWait)
	}
}

// awaitAgain loads life, then busy: who has not died at the first has not at
// the second or is found to have by waitv.
func (v aloneEnd) awaitAgain(w *fuzz.World) {
	v.see(w)
	k := v.user(w)
	life := w.Get(aeLife + k - 1)
	switch {
	case w.Get(aeBusy) != k:
		w.Goto(asNoTurn)
	case life == 0 || w.Get(aeDied)&(1<<k) != 0:
		w.Goto(asAwaitDying)
	default:
		w.SetReg(arWatch, life)
		w.Goto(asWait)
		if v.lateTurn {
			w.Goto(asTurn)
		}
	}
}

func (v aloneEnd) awaitDying(w *fuzz.World) {
	switch {
	case v.takeDying || !v.alive(w, v.user(w)):
		w.Goto(asNoTurn)
	case w.Reg(arTry) != 0 || w.GiveUp(): // else it is a nap
		v.fails(w)
	default:
		w.Goto(asAwait)
	}
}

func (v aloneEnd) fails(w *fuzz.World) {
	w.SetReg(arFail, 1)
	w.Goto(asNoTurn)
}

func (v aloneEnd) wait(w *fuzz.World) {
	k, watch := v.user(w), w.Reg(arWatch)
	same := v.unwatched || w.Get(aeLife+k-1) == watch && w.Get(aeDied)&(1<<k) == 0
	w.SetReg(arWatch, 0)
	cells := []int{aeTurn, aeLife + k - 1}
	if v.unwatched {
		cells = cells[:1]
	}
	switch {
	case w.Reg(arTry) != 0:
		v.fails(w)
	case w.Get(aeTurn) != 1 || !same:
		w.Goto(asAwait)
	default:
		w.Sleep(asWoken, cells...)
	}
}

func (v aloneEnd) woken(w *fuzz.World) {
	w.Goto(asAwait)
	if w.Wakeup() == fuzz.Cancelled {
		v.fails(w)
	}
}

func (v aloneEnd) noTurn(w *fuzz.World) {
	w.Set(aeTurn, 0)
	v.fence(w)
	w.Goto(asArrived)
	if w.Reg(arFail) != 0 {
		w.Goto(asUnlock)
	}
}

func (v aloneEnd) arrived(w *fuzz.World) {
	w.Goto(asAlive)
	if w.Private(apAlone) != 0 && !v.keepMark {
		v.fence(w)
		w.SetPrivate(apAlone, 0)
	}
}

func (v aloneEnd) aliveStill(w *fuzz.World) {
	me, k := w.Private(apMe), v.user(w)
	w.SetReg(arNext, userAll)
	if k == 0 || k != me && (v.grab || !v.alive(w, k)) {
		w.SetReg(arNext, me)
	}
	w.Goto(asNext)
}

func (v aloneEnd) next(w *fuzz.World) {
	v.fence(w)
	if w.Get(aeUser) == w.Reg(arUser) {
		w.Set(aeUser, w.Reg(arNext))
	}
	w.SetReg(arNext, 0)
	w.SetReg(arUser, 0)
	w.Goto(asArrive)
}

func (v aloneEnd) mark(w *fuzz.World) {
	v.fence(w)
	w.SetPrivate(apAlone, 1)
	w.SetReg(arUser, 0)
	w.Goto(asMarkBusy)
}

func (v aloneEnd) markBusy(w *fuzz.World) {
	v.plain(w, bufBusy)
	w.Goto(asMarkUser)
	if v.unlockFirst {
		w.Goto(asMarkUnlock)
	}
}

func (v aloneEnd) markUser(w *fuzz.World) {
	v.drain(w)
	w.Set(aeUser, w.Private(apMe)|userAlone)
	w.Goto(asMarkUnlock)
	if v.unlockFirst {
		w.Goto(asPos)
	}
}

func (v aloneEnd) markUnlock(w *fuzz.World) {
	v.release(w)
	w.Goto(asPos)
	if v.unlockFirst {
		w.Goto(asMarkUser)
	}
}

func (v aloneEnd) release(w *fuzz.World) {
	v.fence(w)
	if w.Get(aeLock) != w.Process() {
		w.Fail("%w", errUnlocked)
	}
	w.Set(aeLock, 0)
}

func (v aloneEnd) loadPos(w *fuzz.World) {
	v.see(w)
	w.SetReg(arUser, 0)
	w.SetReg(arPos, w.Get(aePos))
	w.Goto(asCommit)
	if w.GiveUp() { // it waits for room, and that for too long
		w.SetReg(arPos, 0)
		w.Goto(asGive)
	}
}

// commit by who has the lock is seen by others no later than the unlock.
func (v aloneEnd) commit(w *fuzz.World) {
	if w.Reg(arPos) != w.Get(aeCount) {
		w.Fail("%w", errTogether)
	}
	w.Set(aeCount, w.Get(aeCount)+1)
	w.SetReg(arPos, 0)
	if w.Private(apAlone) != 0 && w.Reg(arSeated) != 0 {
		w.SetPrivate(apPos, w.Get(aeCount))
		v.plain(w, bufPos)
	} else {
		v.fence(w)
		w.Set(aePos, w.Get(aeCount))
	}
	w.Goto(asGive)
}

func (v aloneEnd) give(w *fuzz.World) {
	v.see(w)
	w.Goto(asUnlock)
	if w.Private(apAlone) != 0 {
		w.Goto(asIdle)
	}
}

func (v aloneEnd) idle(w *fuzz.World) {
	v.plain(w, bufIdle)
	w.Goto(asFinishUser)
}

func (v aloneEnd) finishUser(w *fuzz.World) {
	w.Goto(asRise)
	if !v.mine(w) && !v.noYield {
		w.SetReg(arThen, asRise)
		v.yield(w)
	}
}

func (v aloneEnd) unlock(w *fuzz.World) {
	v.release(w)
	w.Goto(asRise)
	if v.tryGoesOn && w.Reg(arTry) != 0 && w.Reg(arFail) != 0 {
		w.SetReg(arFail, 0)
		w.Goto(asPos)
	}
}

func (v aloneEnd) rise(w *fuzz.World) {
	switch seated := w.Reg(arSeated) != 0; {
	case seated && w.Private(apBuffer) == 0:
		w.SetPrivate(apSeat, 0)
	case seated:
		v.plain(w, bufFree)
	}
	n := w.Reg(arLeft) - 1
	for r := range arFail + 1 {
		w.SetReg(r, 0)
	}
	w.SetReg(arLeft, n)
	w.Goto(asSit)
	if n > 0 {
		return
	}
	w.SetPrivate(apLeft, w.Private(apLeft)-1)
	if v.leaves && w.Private(apLeft) == 0 && w.Choose(2) == 1 {
		w.Goto(asShut)
		return
	}
	w.Finish()
}
