package fuzz_test

import (
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

func TestAloneModel(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    aloneEnd
		size int
	}{
		{"2 threads", aloneEnd{processes: 1, wide: 1, first: 3, try: true, giveUps: 1}, 0},
		{"1 and 1", aloneEnd{processes: 2, first: 3, each: 2, try: true, leaves: true, giveUps: 1}, 0},
		{"1 and 1, crash", aloneEnd{processes: 2, first: 3, each: 2, leaves: true, crashes: 1, late: late}, 0},
		{"2 and 1, ready, crash", aloneEnd{processes: 2, wide: 1, ready: true, first: 1, each: 1, leaves: true, crashes: 1, late: late}, 0},
		{"3, ready, leaving, giving up", aloneEnd{processes: 3, ready: true, first: 2, each: 1, leaves: true, giveUps: 1}, 1},
		{"3, ready, crash", aloneEnd{processes: 3, ready: true, first: 1, each: 1, crashes: 1, late: late}, 1},
		{"3, ready, giving up, crash", aloneEnd{processes: 3, ready: true, first: 2, each: 1, giveUps: 1, crashes: 1, late: late}, 2},
		{"3, ready, leaving, crash", aloneEnd{processes: 3, ready: true, first: 2, each: 1, leaves: true, crashes: 1, late: late}, 2},
		{"3, ready, leaving, 2 crashes", aloneEnd{processes: 3, ready: true, first: 1, each: 1, leaves: true, crashes: 2, late: late}, 2},
		{"3, ready, 2 crashes", aloneEnd{processes: 3, ready: true, first: 2, each: 1, crashes: 2, late: late}, 2},
		{"2 and 1, ready, giving up, crash", aloneEnd{processes: 2, wide: 1, ready: true, first: 2, each: 1, giveUps: 1, crashes: 1, late: late}, 2},
		{"2 and 1", aloneEnd{processes: 2, wide: 1, first: 3, each: 2, crashes: 1, late: late}, 2},
		{"2 and 2, ready, crash", aloneEnd{processes: 2, wide: 2, ready: true, first: 1, each: 1, crashes: 1, late: late}, 2},
	} {
		t.Run(row.name, func(t *testing.T) { holds(t, row.v.model(), row.size) })
	}
}

func TestAloneMistakes(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	two := aloneEnd{processes: 2, ready: true, first: 2, each: 1}
	dies := aloneEnd{processes: 2, ready: true, first: 2, each: 1, crashes: 1, late: late}
	three := aloneEnd{processes: 3, ready: true, first: 1, each: 1, crashes: 1, late: late}
	own := aloneEnd{processes: 1, wide: 1, ready: true, first: 2}
	for _, row := range []struct {
		name string
		v    aloneEnd
		want error
	}{
		{"no membarrier", with(two, func(v *aloneEnd) { v.noFence = true }), errTogether},
		{"look at busy, then store user", with(two, func(v *aloneEnd) { v.busyFirst = true }), errTogether},
		{"look at user, then store busy", with(two, func(v *aloneEnd) { v.userFirst = true }), errTogether},
		{"wake, then clear busy", with(two, func(v *aloneEnd) { v.wakeFirst = true }), fuzz.ErrStuck},
		{"clear busy, wake, no fence between", with(two, func(v *aloneEnd) { v.noStop = true }), fuzz.ErrStuck},
		{"no look at user after a call", with(two, func(v *aloneEnd) { v.noYield = true }), fuzz.ErrStuck},
		{"who asks watches nobody's life", with(dies, func(v *aloneEnd) { v.unwatched = true }), fuzz.ErrStuck},
		{"the end of a member that is dying", with(dies, func(v *aloneEnd) { v.takeDying = true }), errTogether},
		{"look at busy, then store turn", with(two, func(v *aloneEnd) { v.lateTurn = true }), fuzz.ErrStuck},
		{"who finds that somebody has asked goes on", with(three, func(v *aloneEnd) { v.trustAsked, v.crashes, v.giveUps = true, 0, 1 }), errTogether},
		{"a member does not ask itself", with(own, func(v *aloneEnd) { v.trustOwn = true }), errTogether},
		{"a mark is left at the seat", with(own, func(v *aloneEnd) { v.keepMark = true }), fuzz.ErrStuck},
		{"who has asked is the next to be alone", with(two, func(v *aloneEnd) { v.grab, v.each = true, 3 }), errTogether},
		{"join does not forget", with(three, func(v *aloneEnd) { v.joinKeeps = true }), fuzz.ErrStuck},
		{"forget clears turn, then wakes", with(three, func(v *aloneEnd) { v.forgetTakes = true }), fuzz.ErrStuck},
		{"a member is claimed by a word that who asks watches", with(three, func(v *aloneEnd) { v.sameWord = true }), fuzz.ErrStuck},
		{"a Try call that fails goes on", with(two, func(v *aloneEnd) { v.tryGoesOn, v.try = true, true }), errUnlocked},
		{"goAlone unlocks, then stores user", with(two, func(v *aloneEnd) { v.unlockFirst, v.ready = true, false }), errTogether},
	} {
		t.Run(row.name, func(t *testing.T) { caught(t, row.v.model(), row.want) })
	}
}
