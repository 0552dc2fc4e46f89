package fuzz_test

import "github.com/rawipc/rawipc/fuzz"

// locked takes the lock if it is free or its holder is gone.
func (v owned) locked(w *fuzz.World) bool {
	holder := w.Get(owMu)
	if holder != 0 && !w.FullyDead(holder) {
		return false
	}
	w.Set(owMu, w.Process())
	w.Goto(owFind)
	if holder != 0 {
		w.Goto(owFinish)
	}
	if w.Reg(owWhy) == owGive {
		v.pin(w)
	}
	return true
}

func (v owned) tryLock(w *fuzz.World) {
	switch {
	case v.locked(w):
	case w.Reg(owWhy) == owReclaim: // somebody else is at it
		w.Goto(owLoop)
	case w.Reg(owWhy) == owTake:
		w.Goto(owWakeBefore)
	default:
		w.SetReg(owPending, 0)
		w.Goto(owLock)
	}
}

func (v owned) wakeBefore(w *fuzz.World) {
	w.Wake(1, owWaiters)
	w.SetReg(owPending, 0) // it names the lock now
	w.Goto(owLock)
}

func (v owned) lock(w *fuzz.World) {
	w.SetReg(owPending, w.Reg(owPinned))
	if v.locked(w) {
		return
	}
	if w.Reg(owWhy) == owTake && w.GiveUp() {
		w.Goto(owPassOn)
		return
	}
	w.SetReg(owPending, 0)
}

func (v owned) finish(w *fuzz.World) {
	w.Goto(owFind)
	if w.Get(owNoted) == 0 {
		return
	}
	if w.Get(owFlip) != w.Get(owFlipWas) || v.trustNote {
		w.Set(slotCount(w.Get(owSlot)), w.Get(owCount))
	}
	w.Goto(owFinished)
}

func (v owned) finished(w *fuzz.World) {
	v.clearNote(w)
	w.Goto(owFind)
}

func (v owned) clearNote(w *fuzz.World) {
	w.Set(owNoted, 0)
	w.Set(owSlot, 0)
	w.Set(owCount, 0)
	w.Set(owFlipWas, 0)
}

// find says what is to be changed.
func (v owned) find(w *fuzz.World) {
	w.Goto(owNote)
	w.SetReg(owD, 0)
	free := -1
	for i := range v.processes {
		id, n := w.Get(slotID(i)), w.Get(slotCount(i))
		switch why := w.Reg(owWhy); {
		case why == owReclaim && n > 0 && w.FullyDead(id):
			v.plan(w, i, 0, n)
			return
		case why == owGive && id == w.Process() && n > 0:
			v.plan(w, i, n-1, 1)
			return
		case why == owTake && id == w.Process():
			v.plan(w, i, n+1, 0)
			return
		case n == 0 && free < 0:
			free = i
		}
	}
	if w.Reg(owWhy) != owTake {
		w.SetReg(owDone, 1)
		w.Goto(owUnlock) // nothing is left, or it was EPERM
		return
	}
	if free < 0 {
		w.Fail("no slot for one more process")
		return
	}
	w.Set(slotID(free), w.Process())
	v.plan(w, free, 1, 0)
}

func (v owned) plan(w *fuzz.World, slot, count, d int) {
	w.SetReg(owAt, slot)
	w.SetReg(owNew, count)
	w.SetReg(owD, d)
}

func (v owned) note(w *fuzz.World) {
	if !v.noNote {
		w.Set(owSlot, w.Reg(owAt))
		w.Set(owCount, w.Reg(owNew))
		w.Set(owFlipWas, w.Get(owFlip))
		if v.staleFlip && w.Reg(owWhy) == owTake {
			w.Set(owFlipWas, w.Reg(owSawFlip))
		}
		w.Set(owNoted, 1)
	}
	w.Goto(owCAS)
}

func (v owned) cas(w *fuzz.World) {
	d := w.Reg(owD)
	if d == 0 && w.Get(owTokens) == 0 {
		v.clearNote(w)
		w.Goto(owUnlock)
		return
	}
	n := w.Get(owTokens) - 1
	if d > 0 {
		n = w.Get(owTokens) + d
	}
	w.Set(owTokens, min(n, v.tokens))
	w.Set(owFlip, 1-w.Get(owFlip))
	w.Goto(owSetCount)
}

func (v owned) setCount(w *fuzz.World) {
	w.Set(slotCount(w.Reg(owAt)), w.Reg(owNew))
	w.Goto(owUnnote)
}

func (v owned) unnote(w *fuzz.World) {
	v.clearNote(w)
	if w.Reg(owD) > 0 && w.Get(owWaiters) != 0 {
		w.Goto(owWake)
		return
	}
	v.changed(w)
}

func (v owned) wake(w *fuzz.World) {
	if w.Wake(max(w.Reg(owD), 1), owWaiters) == 0 {
		w.Goto(owWakeAll)
		return
	}
	v.changed(w)
}

func (v owned) wakeAll(w *fuzz.World) {
	w.Set(owWaiters, 0)
	w.Wake(255, owWaiters)
	v.changed(w)
}

// changed is the return of change, or of wakeSleepers in a plain Release.
func (v owned) changed(w *fuzz.World) {
	w.SetReg(owAt, 0)
	w.SetReg(owNew, 0)
	w.SetReg(owD, 0)
	switch {
	case w.Reg(owIsOwned) == 0 && w.Reg(owWhy) == owGive:
		w.Finish()
	case w.Reg(owWhy) == owReclaim:
		w.Goto(owFind)
	default:
		w.SetReg(owDone, 1)
		w.Goto(owUnlock)
	}
}

func (v owned) unlock(w *fuzz.World) {
	w.Set(owMu, 0)
	done := w.Reg(owDone) == 1
	w.SetReg(owDone, 0)
	w.SetReg(owAt, 0)
	w.SetReg(owNew, 0)
	switch {
	case w.Reg(owWhy) == owGive:
		w.Finish()
	case w.Reg(owWhy) == owTake && done && w.Reg(owPinned) == 1:
		w.SetReg(owDone, 1) // it has an owned token
		w.Goto(owPassOn)
	case w.Reg(owWhy) == owTake && done:
		w.Goto(owHold)
	default:
		v.pin(w)
		w.Goto(owLoop)
	}
}

func (v owned) hold(w *fuzz.World) {
	w.SetReg(owBounded, 0)
	w.SetReg(owSawFlip, 0)
	w.SetReg(owWhy, owGive)
	switch {
	case w.Reg(owIsOwned) == 1:
		w.Goto(owTryLock)
	case w.Get(owWaiters) == 0:
		w.Set(owTokens, w.Get(owTokens)+1)
		w.SetReg(owHas, 0)
		w.Finish()
	default:
		v.pin(w)
		w.Goto(owRelease)
	}
}

func (v owned) release(w *fuzz.World) {
	w.Set(owTokens, w.Get(owTokens)+1)
	w.SetReg(owHas, 0)
	w.Goto(owWake)
	if w.Get(owWaiters) == 0 {
		w.Finish()
	}
}

// exit is the kernel's clean-up, and a new token from outside for a plain one
// that is lost.
func (v owned) exit(w *fuzz.World) {
	if w.Reg(owPending) != 0 {
		w.Wake(1, owWaiters)
	}
	if w.Reg(owHas) == 0 {
		return
	}
	w.Set(owTokens, w.Get(owTokens)+1)
	if w.Get(owWaiters) != 0 && w.Wake(1, owWaiters) == 0 {
		w.Set(owWaiters, 0)
	}
}

func (v owned) conserved(w *fuzz.World) error {
	n := w.Get(owTokens)
	made := w.Get(owNoted) != 0 && w.Get(owFlip) != w.Get(owFlipWas)
	for i := range v.processes {
		if made && i == w.Get(owSlot) {
			n += w.Get(owCount)
		} else {
			n += w.Get(slotCount(i))
		}
	}
	if n != v.tokens {
		return errTokens
	}
	return nil
}
