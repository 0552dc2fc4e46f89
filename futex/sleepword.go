package futex

import (
	"context"
	"sync/atomic"
)

// sleepers is how a Semaphore puts processes to sleep and wakes them: on the low
// half of a 64-bit state whose upper half says what they wait for. The low half
// has only its two top bits:
//
//	31  waiters  somebody may sleep
//	30  phase    changes with what is waited for, so that nobody goes to sleep
//	             on a state that is gone
//
// The rest of it stays 0: threads name the word while they sleep, and while
// they are between a change and its wake, and the kernel wakes a sleeper for a
// thread that dies there only then.
//
// SYNC sleepers: a waiter sets waiters (keeping the state it saw), then sleeps
// on exactly that low half; a waker changes phase, then wakes. Either the
// kernel sees the new phase and does not let the waiter sleep, or the waker
// sees waiters. The bit is only ever cleared by a call that wakes all.
const phase = 1 << 30

// sleepOnBoth sleeps on the low half of v, as long as state has it. The caller has
// pinned the thread to the word and set waiters in v. As phase may have changed
// twice since v was loaded, it sleeps only if turn, a word that does not come
// back, has its old value too. As the kernel takes long to look at two words, the first sleep is on the
// state alone, for lookAround at most: who was kept so long between his load and
// his sleep, for two changes, oversleeps by that. It reports whether the
// next sleep has to be long. Kernels before 5.16 can't look at both, and there
// each sleep is like the first.
//
// SYNC both: the kernel compares one word after the other, and lists the caller
// as a sleeper of the first in between. So turn is the second: a change that
// this comparison is too early for is followed by a wake.
func sleepOnBoth(ctx context.Context, state *atomic.Uint64, v uint64, turn *atomic.Uint32, old uint32, long bool) (again bool, err error) {
	if !long || !haveWaitv() {
		if turn.Load() != old {
			return long, nil
		}
		return sleepSome(ctx, state, v)
	}
	if ctx.Done() != nil {
		_, err := WaitAny(ctx, Word{lowWord(state), lowPart(v)}, Word{turn, old})
		return true, err
	}
	var words [2]waitvEntry
	words[0].set(lowWord(state), lowPart(v), false)
	words[1].set(turn, old, false)
	_, e := waitv(words[:], nil)
	return true, sysError("futex_waitv", e)
}

// wakeSleepers wakes n sleepers. Nobody there means that waiters is a leftover:
// it goes, with a wake for those who came meanwhile.
func wakeSleepers(state *atomic.Uint64, n int32) {
	w := lowWord(state)
	if woken, _ := futexWake(w, n, matchAny); woken == 0 {
		wakeAllSleepers(state)
	}
}

// wakeAllSleepers clears waiters and wakes all, in one call.
func wakeAllSleepers(state *atomic.Uint64) {
	w := lowWord(state)
	futexWakeOp(w, maxInt32, w, 1, clearWaiters)
}
