package fuzz_test

import (
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

func TestQueueModel(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    queue
		size int
	}{
		{"1 to 1, giving up", queue{senders: 1, each: 2, receivers: 1, crashes: 2, giveUps: 1, late: late}, 0},
		{"2 to 1", queue{senders: 2, each: 1, receivers: 1, crashes: 1, late: late}, 0},
		{"1 to 1, closed", queue{senders: 1, each: 1, closers: 1, receivers: 1, crashes: 1, late: late}, 0},
		{"1 to 2, late", queue{senders: 1, each: 2, receivers: 2, crashes: 1, late: late}, 1},
		{"1 to 1, giving up, closed", queue{senders: 1, each: 2, closers: 1, receivers: 1, crashes: 1, giveUps: 1, late: late}, 2},
		{"2 to 1, 2 crashes", queue{senders: 2, each: 1, receivers: 1, crashes: 2, late: late}, 2},
		{"1 to 1, 2 crashes, closed", queue{senders: 1, each: 1, closers: 1, receivers: 1, crashes: 2, giveUps: 1, late: late}, 2},
		{"2 to 2", queue{senders: 2, each: 1, receivers: 2, crashes: 1}, 2},
		{"1 to a notifier", queue{senders: 1, each: 1, notifiers: 1, crashes: 2, giveUps: 1, late: late}, 0},
		{"1 to a receiver and a notifier", queue{senders: 1, each: 1, receivers: 1, notifiers: 1, crashes: 1, late: late}, 2},
		{"2 to a notifier", queue{senders: 2, each: 1, notifiers: 1, crashes: 1, late: late}, 0},
		{"1 to 2 notifiers", queue{senders: 1, each: 1, notifiers: 2, crashes: 1, late: late}, 0},
		{"1 to a notifier, closed", queue{senders: 1, each: 1, closers: 1, notifiers: 1, crashes: 1, giveUps: 1, late: late}, 2},
		{"1 to 2 notifiers, 2 crashes", queue{senders: 1, each: 1, notifiers: 2, crashes: 2, late: late}, 2},
	} {
		t.Run(row.name, func(t *testing.T) { holds(t, row.v.model(), row.size) })
	}
}

func TestQueueMistakes(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	two := queue{senders: 2, each: 1, receivers: 1, crashes: 1}
	one := queue{senders: 1, each: 2, receivers: 1, crashes: 1}
	ends := queue{senders: 1, each: 1, closers: 1, receivers: 1}
	told := queue{senders: 1, each: 1, notifiers: 1, crashes: 1}
	both := queue{senders: 1, each: 1, receivers: 1, notifiers: 1, giveUps: 1, leave: true}
	for _, row := range []struct {
		name string
		v    queue
		want error
	}{
		{"join clears sleeps before its wake", with(two, func(v *queue) { v.joinClears = true }), fuzz.ErrStuck},
		{"join leaves sleeps as it is", with(two, func(v *queue) { v.joinKeeps = true }), fuzz.ErrStuck},
		{"join wakes nobody", with(two, func(v *queue) { v.joinQuiet = true }), fuzz.ErrStuck},
		{"join after the guardian's end", with(two, func(v *queue) { v.joinLate, v.late = true, late }), fuzz.ErrStuck},
		{"members are not watched", with(two, func(v *queue) { v.watchNobody = true }), fuzz.ErrStuck},
		{"look, then set sleeps", with(one, func(v *queue) { v.lookFirst = true }), fuzz.ErrStuck},
		{"sleep while a member is dying", with(one, func(v *queue) { v.hasty, v.late = true, late }), fuzz.ErrStuck},
		{"wake, then commit", with(one, func(v *queue) { v.wakeFirst = true }), fuzz.ErrStuck},
		{"CloseSend without the lock", with(ends, func(v *queue) { v.openEnd = true }), errTooLate},
		{"look at the queue, then at the end", with(ends, func(v *queue) { v.posFirst = true }), errTooEarly},
		{"nobody ends for the dead", with(ends, func(v *queue) { v.helpless, v.crashes = true, 1 }), fuzz.ErrStuck},
		{"a receiver clears armed", with(both, func(v *queue) { v.oneWord = true }), fuzz.ErrStuck},
		{"a wake for the receiver only", with(both, func(v *queue) { v.eitherOne = true }), fuzz.ErrStuck},
		{"a notifier watches nobody", with(told, func(v *queue) { v.unwatched = true }), fuzz.ErrStuck},
		{"look, then arm", with(told, func(v *queue) { v.armLate = true }), fuzz.ErrStuck},
		{"join rouses no notifier", with(told, func(v *queue) { v.joinDeaf = true }), fuzz.ErrStuck},
		{"unlock, then clear armed", with(told, func(v *queue) { v.clearLate, v.notifiers, v.giveUps = true, 2, 1 }), fuzz.ErrStuck},
		{"CloseSend tells no notifier", queue{closers: 1, notifiers: 1, silentEnd: true}, fuzz.ErrStuck},
		{"the lock of a dying holder", with(two, func(v *queue) { v.takeDying, v.late = true, late }), errNotOnce},
	} {
		t.Run(row.name, func(t *testing.T) { caught(t, row.v.model(), row.want) })
	}
}
