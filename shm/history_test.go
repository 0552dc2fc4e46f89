package shm_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// A history is what several processes did to one queue. Whether there is an
// order of its events that a queue could have, with each event somewhere in its
// interval, takes no search if all values differ: a history has none exactly if
// it shows one of four violations (Henzinger, Sezgin, Vafeiadis: Aspect-oriented
// linearizability proofs, CONCUR 2013): a value received that was not sent, a
// value received twice, two values received against the order in which they were
// sent, and a queue found empty that never was. That is about queues without a
// bound; the bound adds two conditions that can only be necessary ones.
type history struct {
	events   []event
	capacity int             // 0: not checked
	weight   func(value) int // of the capacity; nil: 1 each
	drained  bool            // the receivers went on to the end
	excused  int             // failed tries that somebody else's call excuses
	strict   int             // those that nothing excuses, and their reason was proven
}

// A value is known by who sent it, and the how-manieth of his it is.
type value struct{ who, seq int }

// An event is a message sent or received, or a call that did neither. A call of
// a batch is an event a message, in order, all with the call's interval.
type event struct {
	kind       eventKind
	who        int // did it, one call at a time
	call       int // the number of the call among his
	value      value
	begin, end int64
	pending    bool // its process was killed over it, and was gone at end
}

type eventKind int

const (
	sent       eventKind = iota
	received             // also the ones that a pending call may have received
	foundFull            // a try that failed
	foundEmpty           // likewise
	foundEnd             // a receive that found the end of the stream
	sendGaveUp
	recvGaveUp
)

func (k eventKind) sends() bool { return k == sent || k == foundFull || k == sendGaveUp }

// life is a value between the two calls that it is in.
type life struct {
	in, out event
	guessed bool // nobody says that he received it, but a victim can have
}

func (e event) String() string {
	return fmt.Sprintf("%s %d.%d by %d in [%d,%d]",
		[...]string{"sent", "received", "full", "empty", "ended", "send gave up", "receive gave up"}[e.kind],
		e.value.who, e.value.seq, e.who, e.begin, e.end)
}

// check returns what shows that no queue has this history. Each process's events
// must stand in the order in which it did them.
func (h *history) check() error {
	lives, err := h.lives()
	if err != nil {
		return err
	}
	for _, f := range []func([]life) error{h.order, h.chains, h.emptiness, h.fullness} {
		if err := f(lives); err != nil {
			return err
		}
	}
	return h.batches()
}

// lives pairs the events: what was received was sent, once; what was sent, and
// is not received though all was, went down with a receiver.
func (h *history) lives() ([]life, error) {
	in, out := map[value]event{}, map[value]event{}
	lost := event{kind: received, begin: math.MaxInt64, end: math.MaxInt64}
	victims := 0
	for _, e := range h.events {
		switch {
		case e.kind == sent:
			if _, ok := in[e.value]; ok {
				return nil, fmt.Errorf("the test's own fault: %v a second time", e)
			}
			in[e.value] = e
		case e.kind == received && e.pending:
			if victims++; victims == 1 {
				lost.begin, lost.end = e.begin, e.end
			}
			lost.begin, lost.end = min(lost.begin, e.begin), max(lost.end, e.end)
		case e.kind == received:
			if first, ok := out[e.value]; ok {
				return nil, fmt.Errorf("twice: %v, and %v", first, e)
			}
			out[e.value] = e
		}
	}
	for v, e := range out {
		if s, ok := in[v]; !ok || e.end < s.begin {
			return nil, fmt.Errorf("fresh: %v, but %v", e, s)
		}
	}
	var all []life
	missing := 0
	for v, s := range in {
		r, ok := out[v]
		switch {
		case ok:
			all = append(all, life{in: s, out: r})
		case s.pending: // it need not have been sent
		case h.drained:
			if missing++; missing > victims || lost.end < s.begin {
				return nil, fmt.Errorf("lost: %d messages with %d that a victim may have taken, the last: %v", missing, victims, s)
			}
			all = append(all, life{in: s, out: lost, guessed: true})
		default:
			all = append(all, life{in: s, out: event{kind: received, begin: math.MaxInt64, end: math.MaxInt64}, guessed: true})
		}
	}
	slices.SortFunc(all, func(a, b life) int { return cmp.Compare(a.in.begin, b.in.begin) })
	return all, nil
}

// order: if a was wholly sent before b was begun, b is not wholly received
// before a is begun. lives are sorted by begin.
func (h *history) order(lives []life) error {
	byEnd := slices.Clone(lives)
	slices.SortFunc(byEnd, func(a, b life) int { return cmp.Compare(a.in.end, b.in.end) })
	latest, k := -1, 0 // of those sent before b: who was received last
	for _, b := range lives {
		for ; k < len(byEnd) && byEnd[k].in.end < b.in.begin; k++ {
			if latest < 0 || byEnd[k].out.begin > byEnd[latest].out.begin {
				latest = k
			}
		}
		if latest >= 0 && byEnd[latest].out.begin > b.out.end {
			return fmt.Errorf("order: %v and then %v, but %v and then %v", byEnd[latest].in, b.in, b.out, byEnd[latest].out)
		}
	}
	return nil
}

// chains is order where a batch leaves the clock nothing to say: what one
// process does is in order anyhow.
func (h *history) chains(lives []life) error {
	by := map[value]life{}
	for _, l := range lives {
		by[l.in.value] = l
	}
	sender, receiver := map[int]life{}, map[int]life{}
	pair := map[[2]int]life{} // of one sender, to one receiver
	for _, e := range h.events {
		l, ok := by[e.value]
		switch {
		case !ok || e.pending && e.kind == received:
		case e.kind == sent: // against the clock of the receivers
			last, ok := sender[e.who]
			if ok && l.out.end < last.out.begin {
				return fmt.Errorf("order: %v and then %v, but %v and then %v", last.in, l.in, l.out, last.out)
			}
			if !ok || l.out.begin > last.out.begin {
				sender[e.who] = l
			}
		case e.kind == received: // against the clock of the senders
			last, ok := receiver[e.who]
			if ok && l.in.end < last.in.begin {
				return fmt.Errorf("order: %v and then %v, but %v and then %v", l.in, last.in, last.out, l.out)
			}
			if !ok || l.in.begin > last.in.begin {
				receiver[e.who] = l
			}
			p := [2]int{e.value.who, e.who}
			if last, ok := pair[p]; ok && last.in.value.seq > e.value.seq {
				return fmt.Errorf("order: %v and then %v", last.out, e)
			}
			pair[p] = l
		}
	}
	return nil
}

// batches: nothing of others is between the messages of a batch that was sent,
// nor left out between those of one that was received.
func (h *history) batches() error {
	call := map[value]int{}
	for _, e := range h.events {
		if e.kind == sent {
			call[e.value] = e.call
		}
	}
	type batch struct{ who, call int }
	last := map[int]event{}           // of each receiver
	over := map[int]map[batch]event{} // batches of which he has received, before another's message
	for _, e := range h.events {
		if e.kind != received || e.pending {
			continue
		}
		b := batch{e.value.who, call[e.value]}
		if f, ok := over[e.who][b]; ok {
			return fmt.Errorf("batch: %v, then another's, then %v of the same batch", f, e)
		}
		l, ok := last[e.who]
		if was := (batch{l.value.who, call[l.value]}); ok && was != b {
			if over[e.who] == nil {
				over[e.who] = map[batch]event{}
			}
			over[e.who][was] = l
		}
		if ok && l.call == e.call && l.value.who == e.value.who && l.value.seq+1 != e.value.seq {
			return fmt.Errorf("batch: %v and then %v in one", l, e)
		}
		last[e.who] = e
	}
	return nil
}
