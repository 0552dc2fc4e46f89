package fuzz_test

import (
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// The senders of aloneSleep.

// begin has a locked instruction: that for the seat.
func (v aloneSleep) begin(w *fuzz.World) {
	v.locked(w)
	w.Goto(slLockEnd)
	if w.Reg(srAlone) != 0 {
		v.plain(w, bufBusy)
		w.Goto(slBeginUser)
	}
}

func (v aloneSleep) mine(w *fuzz.World) bool {
	return w.Get(slUser) == w.Reg(srMe)|userAlone || w.Get(slBuffer)&bufUser != 0 || v.lateUser && w.Get(slUser) == w.Reg(srMe)
}

func (v aloneSleep) beginUser(w *fuzz.World) {
	switch {
	case !v.mine(w):
		w.SetReg(srThen, slLockEnd)
		w.Goto(slYield)
	default:
		w.SetReg(srPlain, 1)
		v.goOn(w)
	}
}

func (v aloneSleep) goOn(w *fuzz.World) {
	w.Goto(slCommit)
	if v.wakeFirst {
		w.Goto(slEarlyLook)
	}
}

func (v aloneSleep) lock(w *fuzz.World) {
	if w.FullyDead(w.Get(slLock)) {
		v.locked(w)
		w.Set(slLock, w.Process())
		w.Goto(slArrive)
	}
}

func (v aloneSleep) arrive(w *fuzz.World) {
	v.see(w)
	u, me := w.Get(slUser), w.Reg(srMe)
	w.SetReg(srUser, u)
	switch k := u & userMask; {
	case u == userAll:
		v.goOn(w)
	case u == me:
		v.goOn(w)
		if me == 1 && w.Choose(2) == 1 {
			w.Goto(slGoBusy)
		}
	case k == me || u&userAlone == 0:
		w.Goto(slTake)
	default:
		w.Goto(slAsk)
	}
}

func (v aloneSleep) ask(w *fuzz.World) {
	v.locked(w)
	w.Set(slUser, w.Reg(srUser)|userAsked)
	w.Goto(slAskFence)
	if v.trustOthers {
		w.Goto(slAwait)
	}
}

func (v aloneSleep) askFence(w *fuzz.World) {
	v.drain(w)
	w.Goto(slAwait)
}

// await is what awaitTurn does, but for its care for who is dying.
func (v aloneSleep) await(done, wait int) func(w *fuzz.World) {
	return func(w *fuzz.World) {
		v.see(w)
		k := w.Reg(srUser) & userMask
		giveUp := w.Wakeup() == fuzz.Cancelled
		if wait == slWaitTurn {
			giveUp = w.GiveUp()
		}
		switch dying := w.Get(slDied)&(1<<(k-1)) != 0; {
		case w.Get(slBusy) != k, w.FullyDead(w.Get(slLife + k - 1)):
			w.Set(slTurn, 0)
			w.Goto(done)
		case giveUp:
			w.Set(slTurn, 0)
			v.giveUp(w)
		case wait == slSetTurn:
			w.Goto(wait)
		case w.Get(slTurn) == 1 && !dying:
			w.Sleep(slAwait, slTurn, slLife+k-1)
		default:
			w.Goto(slAwait)
		}
	}
}

func (v aloneSleep) setTurn(w *fuzz.World) {
	v.locked(w)
	w.Set(slTurn, 1)
	w.Goto(slWaitTurn)
}

func (v aloneSleep) take(w *fuzz.World) {
	v.locked(w)
	k := w.Reg(srUser) & userMask
	w.Set(slUser, userAll)
	if k == 0 || k != w.Reg(srMe) && w.FullyDead(w.Get(slLife+k-1)) {
		w.Set(slUser, w.Reg(srMe))
	}
	w.SetReg(srUser, 0)
	w.Goto(slArrive)
}

func (v aloneSleep) goBusy(w *fuzz.World) {
	w.SetReg(srUser, 0)
	w.SetReg(srAlone, 1)
	w.SetReg(srPlain, 1)
	v.plain(w, bufBusy)
	w.Goto(slGoUser)
	if v.lateUser {
		v.goOn(w)
	}
}

func (v aloneSleep) goUser(w *fuzz.World) {
	v.drain(w)
	if v.plainUser {
		v.plain(w, bufUser)
	} else {
		w.Set(slUser, w.Reg(srMe)|userAlone)
	}
	w.Goto(slGoUnlock)
}

// goUnlock has a fence, but for plainUser.
func (v aloneSleep) goUnlock(w *fuzz.World) {
	if !v.plainUser {
		v.drain(w)
	}
	w.Set(slLock, 0)
	if v.lateUser {
		w.Goto(slRise)
		return
	}
	v.goOn(w)
}

// giveUp ends a call of the other sender.
func (v aloneSleep) giveUp(w *fuzz.World) {
	w.SetReg(srUser, 0)
	w.SetReg(srLeft, w.Reg(srLeft)-1)
	w.Set(slToSend, w.Get(slToSend)-1)
	w.SetReg(srQuiet, 1)
	v.settle(w)
	w.Goto(slUnlock)
}

func (v aloneSleep) commit(w *fuzz.World) {
	if w.Reg(srMe) == 2 && w.GiveUp() {
		v.giveUp(w)
		return
	}
	w.SetReg(srUser, 0)
	w.SetReg(srLeft, w.Reg(srLeft)-1)
	w.Set(slToSend, w.Get(slToSend)-1)
	w.Set(slCount, w.Get(slCount)+1)
	if w.Reg(srPlain) != 0 {
		w.Set(slBufPos, w.Get(slCount))
		v.plain(w, bufPos)
		w.Goto(slIdle)
		return
	}
	v.locked(w)
	w.Set(slPos, w.Get(slCount))
	w.Goto(slUnlock)
}

func (v aloneSleep) idle(w *fuzz.World) {
	v.plain(w, bufIdle)
	w.Goto(slFinishUser)
}

func (v aloneSleep) finishUser(w *fuzz.World) {
	w.SetReg(srPlain, 0)
	switch {
	case !v.mine(w):
		w.SetReg(srThen, slWakeLook)
		w.Goto(slYield)
	case v.wakeFirst:
		w.Goto(slRise)
	default:
		w.Goto(slWakeLook)
	}
}

func (v aloneSleep) yield(w *fuzz.World) {
	v.plain(w, bufIdle)
	v.drain(w)
	w.SetReg(srAlone, 0)
	w.Goto(slYieldLook)
}

func (v aloneSleep) yieldLook(w *fuzz.World) {
	if w.Get(slTurn) != 0 {
		w.Set(slTurn, 0)
		w.Goto(slYieldWake)
		return
	}
	v.then(w)
}

func (v aloneSleep) yieldWake(w *fuzz.World) {
	w.Wake(1, slTurn)
	v.then(w)
}

func (v aloneSleep) then(w *fuzz.World) {
	w.Goto(w.Reg(srThen))
	w.SetReg(srThen, 0)
}

func (v aloneSleep) unlock(w *fuzz.World) {
	v.locked(w)
	w.Set(slLock, 0)
	w.Goto(slWakeLook)
	if v.wakeFirst || w.Reg(srQuiet) != 0 {
		w.Goto(slRise)
	}
	w.SetReg(srQuiet, 0)
}

func (v aloneSleep) wakeLook(w *fuzz.World) {
	if w.Get(slSleeps) != 0 {
		v.locked(w)
		w.Set(slSleeps, 0)
		w.Goto(slWake)
		return
	}
	v.woken(w)
}

func (v aloneSleep) wake(w *fuzz.World) {
	w.Wake(1, slSleeps)
	v.woken(w)
}

func (v aloneSleep) woken(w *fuzz.World) {
	switch {
	case v.wakeFirst:
		w.Goto(slCommit)
	case v.lateUser && w.Reg(srAlone) != 0 && w.Get(slUser) == w.Reg(srMe):
		w.Goto(slGoUser)
	default:
		w.Goto(slRise)
	}
}

func (v aloneSleep) rise(w *fuzz.World) {
	w.Goto(slBegin)
	if w.Reg(srLeft) == 0 {
		w.Finish()
		v.settle(w)
	}
}

func TestAloneSleepModel(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    aloneSleep
		size int
	}{
		{"1 sender", aloneSleep{first: 4, crashes: 1, late: late}, 0},
		{"2 senders, giving up", aloneSleep{first: 3, other: 1, giveUps: 1}, 0},
		{"2 senders, crash", aloneSleep{first: 2, other: 1, crashes: 1, late: late}, 1},
		{"2 senders, giving up, crash", aloneSleep{first: 3, other: 1, giveUps: 1, crashes: 1, late: late}, 2},
		{"2 senders, 2 crashes", aloneSleep{first: 3, other: 2, crashes: 2, late: late}, 2},
	} {
		t.Run(row.name, func(t *testing.T) { holds(t, row.v.model(), row.size) })
	}
}

func TestAloneSleepMistakes(t *testing.T) {
	oneGoroutine(t)
	one, two := aloneSleep{first: 3}, aloneSleep{first: 3, other: 1}
	for _, row := range []struct {
		name string
		v    aloneSleep
	}{
		{"no membarrier", with(one, func(v *aloneSleep) { v.noFence = true })},
		{"look at user, then store sleeps", with(one, func(v *aloneSleep) { v.earlyUser = true })},
		{"membarrier, then store sleeps", with(one, func(v *aloneSleep) { v.earlyFence = true })},
		{"no membarrier as somebody has asked", with(two, func(v *aloneSleep) { v.trustAsked, v.giveUps = true, 1 })},
		{"who has asked makes no membarrier", with(two, func(v *aloneSleep) { v.trustOthers = true })},
		{"wake, then commit", with(one, func(v *aloneSleep) { v.wakeFirst = true })},
		{"store user after a commit without a fence", with(one, func(v *aloneSleep) { v.lateUser = true })},
		{"store user, and unlock, without a fence", with(one, func(v *aloneSleep) { v.plainUser = true })},
	} {
		t.Run(row.name, func(t *testing.T) { caught(t, row.v.model(), fuzz.ErrStuck) })
	}
}
