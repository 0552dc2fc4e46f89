package shm_test

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// What a history says about a queue that was found empty, or full.

// span is a time in which the queue is certainly not empty, open at both ends.
type span struct{ from, to int64 }

// emptiness: who found the queue empty did so at a moment when no message was
// certainly in it.
func (h *history) emptiness(lives []life) error {
	var spans []span
	for _, l := range lives {
		if l.in.end < l.out.begin {
			spans = append(spans, span{l.in.end, l.out.begin})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	merged := spans[:0]
	for _, s := range spans {
		if n := len(merged); n > 0 && s.from < merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
		} else {
			merged = append(merged, s)
		}
	}
	busy := h.calls(false)
	for _, e := range h.events {
		if e.kind != foundEmpty && e.kind != foundEnd {
			continue
		}
		k := sort.Search(len(merged), func(i int) bool { return merged[i].to > e.end })
		switch never := k < len(merged) && merged[k].from < e.begin; {
		case e.kind == foundEmpty && busy.beside(e):
			h.excused++
		case never:
			return fmt.Errorf("empty: %v, but there was something in (%d,%d)", e, merged[k].from, merged[k].to)
		default:
			h.strict++
		}
	}
	return nil
}

// step is a moment at which the messages that may be, and that must be, in the
// queue become more or fewer.
type step struct {
	at        int64
	may, must int
}

// fullness: what is certainly in the queue fits, and who found it full did so at
// a moment when it may have been.
func (h *history) fullness(lives []life) error {
	if h.capacity == 0 {
		return nil
	}
	weight := h.weight
	if weight == nil {
		weight = func(value) int { return 1 }
	}
	var steps []step
	known := map[value]bool{}
	for _, l := range lives {
		w := weight(l.in.value)
		known[l.in.value] = true
		steps = append(steps, step{at: l.in.begin, may: w}, step{at: l.out.end, may: -w})
		if l.in.end < l.out.begin {
			steps = append(steps, step{at: l.in.end, must: w}, step{at: l.out.begin, must: -w})
		}
	}
	for _, e := range h.events { // what a victim may have sent
		if e.kind == sent && !known[e.value] {
			steps = append(steps, step{at: e.begin, may: weight(e.value)})
		}
	}
	// What comes at the same moment as what goes may be there with it, not must.
	slices.SortFunc(steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.may, a.may), cmp.Compare(a.must, b.must))
	})
	var may, must int
	most := make([]int, len(steps)) // that may be there from the step on
	for i, s := range steps {
		may, must = may+s.may, must+s.must
		most[i] = may
		if must > h.capacity {
			return fmt.Errorf("capacity: %d of %d are taken at %d", must, h.capacity, s.at)
		}
	}
	busy := h.calls(true)
	for _, e := range h.events {
		if e.kind != foundFull {
			continue
		}
		if busy.beside(e) {
			h.excused++
			continue
		}
		k, peak := sort.Search(len(steps), func(i int) bool { return steps[i].at >= e.begin }), 0
		if k > 0 {
			peak = most[k-1]
		}
		for ; k < len(steps) && steps[k].at <= e.end; k++ {
			peak = max(peak, most[k])
		}
		if peak+weight(e.value) <= h.capacity {
			return fmt.Errorf("full: %v, but at most %d of %d were taken", e, peak, h.capacity)
		}
		h.strict++
	}
	return nil
}

// calls are the calls that send, or those that receive, of each process. A try
// may fail beside one: its documentation says so.
type calls map[int][]event

func (h *history) calls(sends bool) calls {
	c := calls{}
	for _, e := range h.events {
		if e.kind.sends() == sends {
			c[e.who] = append(c[e.who], e)
		}
	}
	return c
}

func (c calls) beside(e event) bool {
	for who, of := range c {
		if who == e.who {
			continue
		}
		k := sort.Search(len(of), func(i int) bool { return of[i].end >= e.begin })
		if k < len(of) && of[k].begin <= e.end {
			return true
		}
	}
	return false
}
