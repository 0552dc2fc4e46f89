package fuzz

// action is one kind of transition. Its functions are made once, so that a
// transition costs no allocation.
type action struct {
	name  string
	aside bool
	do    func()
}

type actions struct {
	kill, guardianEnds, threadEnds       action
	interrupt, timeout, spurious, giveUp action
	steps, lateSteps, faults             []action
}

func (w *World) newActions() {
	wakeBy := func(why Wakeup) func() {
		return func() {
			th := w.self()
			th[offSleep], th[offLife] = 0, byte(why)
			if why == Cancelled {
				w.s[offGiveUps]--
			}
		}
	}
	a := &w.acts
	a.kill = action{"KILLED", true, w.kill}
	a.guardianEnds = action{"guardian ends", false, w.guardianEnds}
	a.threadEnds = action{"ends", false, w.threadEnds}
	a.interrupt = action{"is interrupted", true, wakeBy(Woken)}
	a.timeout = action{"times out", false, wakeBy(TimedOut)}
	a.spurious = action{"wakes for no reason", true, wakeBy(Woken)}
	a.giveUp = action{"is cancelled", true, wakeBy(Cancelled)}
	for i := range w.m.Steps {
		step := &w.m.Steps[i]
		do := func() { w.advance(step) }
		a.steps = append(a.steps, action{step.Name, false, do})
		a.lateSteps = append(a.lateSteps, action{step.Name + " (dying)", true, do})
	}
	for i := range w.m.Faults {
		f := &w.m.Faults[i]
		a.faults = append(a.faults, action{f.Name, true, func() { w.s[offFaults]--; f.Do(w) }})
	}
}

// successors calls emit with every state that can follow cur, until emit
// returns false. While emit runs, w.P, w.T, w.step, w.aside and w.failed
// describe the transition.
func (w *World) successors(cur []byte, emit func(next []byte) bool) {
	for p := range w.m.Processes {
		life := cur[w.proc(p)]
		if life&procDying == 0 && cur[offCrashes] > 0 && w.running(cur, p) {
			if !w.try(cur, p, GuardianThread, &w.acts.kill, emit) {
				return
			}
		}
		if life == procDying { // its guardian is still there
			if !w.try(cur, p, GuardianThread, &w.acts.guardianEnds, emit) {
				return
			}
		}
		for t := range w.m.Threads {
			if !w.ofThread(cur, p, t, life&procDying != 0, emit) {
				return
			}
		}
	}
	for i := range w.acts.faults {
		if cur[offFaults] > 0 && !w.try(cur, -1, -1, &w.acts.faults[i], emit) {
			return
		}
	}
}

// ofThread emits what thread t of process p can do next.
func (w *World) ofThread(cur []byte, p, t int, dying bool, emit func([]byte) bool) bool {
	m, a, th := w.m, &w.acts, cur[w.thread(p, t):]
	if th[offLife]&threadDead != 0 {
		return true
	}
	if dying && !w.try(cur, p, t, &a.threadEnds, emit) {
		return false
	}
	pc := th[offPC]
	switch {
	case pc == finishedPC:
	case th[offSleep] != 0 && dying:
		// A late step of a sleeper is that its call comes back.
		return m.Late != LateAny || w.try(cur, p, t, &a.interrupt, emit)
	case th[offSleep] != 0:
		return (!m.Timer && th[offLife] != bounded || w.try(cur, p, t, &a.timeout, emit)) &&
			(!m.Spurious || w.try(cur, p, t, &a.spurious, emit)) &&
			(cur[offGiveUps] == 0 || w.try(cur, p, t, &a.giveUp, emit))
	case !dying:
		return w.try(cur, p, t, &a.steps[pc], emit)
	case m.Late == LateAny, m.Late == LateSystem && m.Steps[pc].System:
		return w.try(cur, p, t, &a.lateSteps[pc], emit)
	}
	return true
}

// try works out one transition, once for each way in which Choose can go.
func (w *World) try(cur []byte, p, t int, a *action, emit func([]byte) bool) bool {
	w.picks, w.arity = w.picks[:0], w.arity[:0]
	for {
		copy(w.scratch, cur)
		w.s, w.P, w.T, w.step, w.aside = w.scratch, p, t, a.name, a.aside
		w.asked, w.failed = 0, nil
		a.do()
		if !emit(w.s) {
			return false
		}
		if !w.nextPicks() {
			return true
		}
	}
}

// nextPicks moves on to the next sequence of answers to Choose.
func (w *World) nextPicks() bool {
	for i := len(w.picks) - 1; i >= 0; i-- {
		if w.picks[i]+1 < w.arity[i] {
			w.picks[i]++
			w.picks, w.arity = w.picks[:i+1], w.arity[:i+1]
			return true
		}
	}
	return false
}

func (w *World) advance(step *Step) {
	th := w.self()
	why := th[offLife]
	step.Do(w)
	if th[offLife] == why { // how the sleep ended concerns one step only
		th[offLife] = 0
	}
}

// running reports whether process p has a thread that has not finished.
func (w *World) running(cur []byte, p int) bool {
	for t := range w.m.Threads {
		if cur[w.thread(p, t)+offPC] != finishedPC {
			return true
		}
	}
	return false
}

func (w *World) kill() {
	w.s[offCrashes]--
	life := byte(procDying)
	if !w.m.Guardian {
		life |= guardianDead
	}
	w.s[w.proc(w.P)] = life
	for t := range w.m.Threads {
		if th := w.s[w.thread(w.P, t):][:w.thrLen]; th[offPC] == finishedPC {
			th[offPC], th[offLife] = 0, threadDead
		}
	}
}

func (w *World) guardianEnds() {
	w.exit()
	w.s[w.proc(w.P)] |= guardianDead
	w.forget()
}

func (w *World) threadEnds() {
	th := w.self()[:w.thrLen]
	th[offSleep] = 0
	w.exit()
	clear(th)
	th[offLife] = threadDead
	w.forget()
}

func (w *World) exit() {
	if w.m.Exit != nil {
		w.m.Exit(w)
	}
}

// forget drops the private memory of a process that is gone, so that states
// which differ in nothing else are one.
func (w *World) forget() {
	if w.FullyDead(w.P + 1) {
		at := w.proc(w.P)
		clear(w.s[at+1 : at+1+len(w.m.Private)])
	}
}
