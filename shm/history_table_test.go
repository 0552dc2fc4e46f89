package shm_test

import (
	"strings"
	"testing"
)

// Histories by hand, good ones and one at least for each way to be none of a
// queue's: the checker refuses these, for the right reason.
func TestHistoryChecker(t *testing.T) {
	in := func(who, seq int, begin, end int64) event {
		return event{kind: sent, who: who, call: seq, value: value{who, seq}, begin: begin, end: end}
	}
	out := func(by, who, seq int, begin, end int64) event {
		return event{kind: received, who: by, call: int(begin), value: value{who, seq}, begin: begin, end: end}
	}
	not := func(k eventKind, who int, begin, end int64) event {
		return event{kind: k, who: who, call: int(begin), begin: begin, end: end}
	}
	pending := func(e event) event { e.pending = true; return e }
	as := func(call int, e event) event { e.call = call; return e }
	for _, test := range []struct {
		name     string
		capacity int
		drained  bool
		want     string // "" for a history of a queue
		events   []event
	}{
		{"nothing", 1, true, "", nil},
		{"one after the other", 1, true, "", []event{in(0, 0, 1, 2), out(1, 0, 0, 3, 4), in(0, 1, 5, 6), out(1, 0, 1, 7, 8)}},
		{"received while it is sent", 1, true, "", []event{in(0, 0, 1, 9), out(1, 0, 0, 2, 3)}},
		{"received by who began first", 1, true, "", []event{in(0, 0, 5, 6), out(1, 0, 0, 1, 7)}},
		{"left over", 2, false, "", []event{in(0, 0, 1, 2), in(0, 1, 3, 4), out(1, 0, 0, 5, 6)}},
		{"sends that overlap, in either order", 2, true, "",
			[]event{in(0, 0, 1, 4), in(1, 0, 2, 3), out(2, 1, 0, 5, 6), out(2, 0, 0, 7, 8)}},
		{"receives that overlap, in either order", 2, true, "",
			[]event{in(0, 0, 1, 2), in(0, 1, 3, 4), out(2, 0, 1, 5, 8), out(3, 0, 0, 6, 9)}},

		{"never sent", 0, true, "fresh", []event{in(0, 0, 1, 2), out(1, 0, 1, 3, 4)}},
		{"received before it was sent", 0, true, "fresh", []event{in(0, 0, 5, 6), out(1, 0, 0, 1, 2)}},
		{"twice by one", 0, true, "twice", []event{in(0, 0, 1, 2), out(1, 0, 0, 3, 4), out(1, 0, 0, 5, 6)}},
		{"twice by two", 0, true, "twice", []event{in(0, 0, 1, 2), out(1, 0, 0, 3, 6), out(2, 0, 0, 4, 5)}},
		{"lost", 0, true, "lost", []event{in(0, 0, 1, 2)}},
		{"two lost by one victim", 0, true, "lost",
			[]event{in(0, 0, 1, 2), in(0, 1, 3, 4), pending(out(1, 0, 0, 1, 9))}},

		{"two senders' against the clock", 0, true, "order",
			[]event{in(0, 0, 1, 2), in(1, 0, 3, 4), out(2, 1, 0, 5, 6), out(3, 0, 0, 7, 8)}},
		{"the later one received, the earlier one never", 0, false, "order",
			[]event{in(0, 0, 1, 2), in(1, 0, 3, 4), out(2, 1, 0, 5, 6)}},
		{"one sender's against the clock", 0, true, "order",
			[]event{in(0, 0, 1, 2), in(0, 1, 3, 4), out(2, 0, 1, 5, 6), out(3, 0, 0, 7, 8)}},
		{"not the next one that is the oldest", 0, true, "order",
			[]event{in(0, 0, 1, 2), in(1, 0, 3, 4), in(1, 1, 5, 6), out(2, 1, 0, 7, 20), out(3, 1, 1, 8, 9), out(3, 0, 0, 10, 11)}},
		{"a batch that was sent, the wrong way round", 0, true, "order",
			[]event{as(1, in(0, 0, 1, 4)), as(1, in(0, 1, 1, 4)), out(2, 0, 1, 5, 6), out(3, 0, 0, 7, 8)}},
		{"two batches that were received, the wrong way round", 0, true, "order",
			[]event{in(0, 0, 1, 2), in(1, 0, 3, 4), as(1, out(2, 1, 0, 5, 8)), as(1, out(2, 0, 0, 5, 8))}},
		{"a batch to a batch, the wrong way round", 0, true, "order",
			[]event{as(1, in(0, 0, 1, 4)), as(1, in(0, 1, 1, 4)), as(1, out(2, 0, 1, 3, 8)), as(1, out(2, 0, 0, 3, 8))}},

		{"empty at the beginning", 0, true, "", []event{in(0, 0, 1, 4), not(foundEmpty, 1, 2, 3), out(1, 0, 0, 5, 6)}},
		{"empty between two", 0, true, "",
			[]event{in(0, 0, 1, 2), not(foundEmpty, 1, 3, 6), out(2, 0, 0, 4, 5), in(0, 1, 7, 8), out(2, 0, 1, 9, 10)}},
		{"empty, with a message in it", 0, true, "empty", []event{in(0, 0, 1, 2), not(foundEmpty, 1, 3, 4), out(1, 0, 0, 5, 6)}},
		{"empty, with one or the other in it", 0, true, "empty",
			[]event{in(0, 0, 1, 2), in(0, 1, 4, 5), not(foundEmpty, 1, 3, 12), out(1, 0, 0, 13, 14), out(1, 0, 1, 15, 16)}},
		{"empty, with a chain of messages in it", 0, true, "empty",
			[]event{in(0, 0, 1, 2), in(0, 1, 4, 5), not(foundEnd, 1, 3, 12), out(2, 0, 0, 6, 7), out(2, 0, 1, 13, 14)}},
		{"empty, beside one who receives", 0, true, "",
			[]event{in(0, 0, 1, 2), in(0, 1, 1, 2), not(foundEmpty, 1, 3, 5), out(2, 0, 0, 4, 6), out(2, 0, 1, 7, 8)}},
		{"ended, beside one who receives", 0, true, "empty",
			[]event{in(0, 0, 1, 2), in(0, 1, 1, 2), not(foundEnd, 1, 3, 5), out(2, 0, 0, 4, 6), out(2, 0, 1, 7, 8)}},
		{"empty, beside one who gave up", 0, true, "",
			[]event{in(0, 0, 1, 2), not(recvGaveUp, 2, 2, 4), not(foundEmpty, 1, 3, 5), out(2, 0, 0, 6, 7)}},

		{"full", 1, true, "", []event{in(0, 0, 1, 2), not(foundFull, 0, 3, 4), out(1, 0, 0, 5, 6)}},
		{"full, while it is received", 1, true, "", []event{in(0, 0, 1, 2), out(1, 0, 0, 3, 6), not(foundFull, 0, 4, 5)}},
		{"full, with nothing in it", 1, true, "full", []event{not(foundFull, 0, 1, 2)}},
		{"full, with room", 2, true, "full", []event{in(0, 0, 1, 2), not(foundFull, 0, 3, 4), out(1, 0, 0, 5, 6)}},
		{"full, when it was empty again", 1, true, "full", []event{in(0, 0, 1, 2), out(1, 0, 0, 3, 4), not(foundFull, 0, 5, 6)}},
		{"full, beside one who sends", 2, true, "", []event{in(0, 0, 1, 5), not(foundFull, 2, 3, 4), out(1, 0, 0, 6, 7)}},
		{"over its capacity", 1, true, "capacity",
			[]event{in(0, 0, 1, 2), in(0, 1, 3, 4), out(1, 0, 0, 5, 6), out(1, 0, 1, 7, 8)}},
		{"up to its capacity", 2, true, "",
			[]event{in(0, 0, 1, 2), in(0, 1, 3, 4), out(1, 0, 0, 5, 6), out(1, 0, 1, 7, 8)}},

		{"a batch with another's in it", 0, true, "batch",
			[]event{as(1, in(0, 0, 1, 9)), as(1, in(0, 1, 1, 9)), in(1, 0, 1, 9),
				out(2, 0, 0, 10, 11), out(2, 1, 0, 12, 13), out(2, 0, 1, 14, 15)}},
		{"a batch that leaves one out", 0, true, "batch",
			[]event{as(1, in(0, 0, 1, 9)), as(1, in(0, 1, 1, 9)), as(1, in(0, 2, 1, 9)),
				as(5, out(2, 0, 0, 10, 13)), as(5, out(2, 0, 2, 10, 13)), out(3, 0, 1, 11, 12)}},
		{"two batches, one after the other", 0, true, "",
			[]event{as(1, in(0, 0, 1, 9)), as(1, in(0, 1, 1, 9)), in(1, 0, 1, 9), in(1, 1, 10, 11),
				as(5, out(2, 0, 0, 12, 13)), as(5, out(2, 0, 1, 12, 13)), as(5, out(2, 1, 0, 12, 13)), out(2, 1, 1, 14, 15)}},

		{"a victim's message that was sent", 1, true, "", []event{pending(in(0, 0, 1, 9)), out(1, 0, 0, 2, 3)}},
		{"a victim's message that was not", 1, true, "", []event{pending(in(0, 0, 1, 9)), not(foundEmpty, 1, 10, 11)}},
		{"a victim's message, received before it was sent", 1, true, "fresh", []event{pending(in(0, 0, 5, 9)), out(1, 0, 0, 2, 3)}},
		{"a victim's message, twice", 1, true, "twice",
			[]event{pending(in(0, 0, 1, 9)), out(1, 0, 0, 2, 3), out(1, 0, 0, 4, 5)}},
		{"a message that a victim took with it", 1, true, "", []event{in(0, 0, 1, 2), pending(out(1, 0, 0, 3, 9))}},
		{"one that it can't have taken, for it was gone", 1, true, "lost",
			[]event{pending(out(3, 0, 0, 1, 5)), in(0, 0, 7, 8), in(1, 0, 9, 10), out(2, 1, 0, 11, 12)}},
		{"one that it took before its turn", 1, true, "order",
			[]event{in(0, 0, 1, 2), in(1, 0, 3, 4), out(2, 1, 0, 5, 6), pending(out(3, 0, 0, 7, 9))}},
		{"empty, beside a victim", 1, true, "",
			[]event{in(0, 0, 1, 2), pending(out(3, 0, 0, 3, 9)), not(foundEmpty, 1, 4, 5), out(1, 0, 0, 6, 7)}},
		{"empty, when a victim was gone", 1, true, "empty",
			[]event{in(0, 0, 1, 2), pending(out(3, 0, 0, 3, 9)), not(foundEmpty, 1, 10, 11), out(1, 0, 0, 12, 13)}},
	} {
		h := &history{events: test.events, capacity: test.capacity, drained: test.drained}
		switch err := h.check(); {
		case test.want == "" && err != nil:
			t.Errorf("%s: refused: %v", test.name, err)
		case test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want+":")):
			t.Errorf("%s: %v, want to hear of %q", test.name, err, test.want)
		}
	}
}
