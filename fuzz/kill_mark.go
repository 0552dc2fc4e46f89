package fuzz

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
)

// A mark is a point: an instruction (without the slide) or a sleep in the
// kernel, at its n-th passing in a run.
type mark struct {
	pc uint64
	n  int
}

// sleeping is the pc of a sleep in the kernel.
const sleeping = 0

// undisturbed is no point.
var undisturbed = mark{n: -1}

// arrive lets the victim, which has begun Do, run at full speed to a point that
// an earlier run came by. A step costs the tracer tens of microseconds where
// the machine is virtual, and an operation has thousands; a breakpoint costs
// two stops a passing.
func (t *tracer) arrive(to mark, pass func(uint64) bool, asleep func() halt) (halt, error) {
	breaks := []uint64{t.end}
	if to.pc != sleeping {
		breaks = append(breaks, to.pc+t.code.slide)
	}
	if err := t.setBreaks(breaks...); err != nil {
		return 0, err
	}
	for t.pc != t.end {
		if h, err := t.resume(asleep); h != running || err != nil {
			return h, err
		}
		t.steps++
		// A stop with a signal is not the breakpoint's.
		if t.sig == 0 && t.pc == to.pc+t.code.slide && pass(to.pc) {
			return atPoint, nil
		}
	}
	return finished, t.clearBreaks()
}

// merge adds to points the marks of a trail that it has not yet.
func merge(points, trail []mark) []mark {
	known := make(map[mark]bool, len(points))
	for _, m := range points {
		known[m] = true
	}
	for _, m := range trail {
		if !known[m] {
			points = append(points, m)
		}
	}
	return points
}

// turns is how many passings of an instruction are points, beside the last.
const turns = 16

// thin leaves out what is between the first turns and the last one of a loop: a
// waiter's looks before it sleeps, or a walk along a table, would be nine
// tenths of all points.
func thin(points []mark) []mark {
	last := map[uint64]int{}
	for _, m := range points {
		last[m.pc] = max(last[m.pc], m.n)
	}
	return slices.DeleteFunc(points, func(m mark) bool { return m.n >= turns && m.n < last[m.pc] })
}

// within leaves the points in the functions that are wanted.
func (s *stage) within(points []mark) []mark {
	if s.opts.In == "" {
		return points
	}
	return slices.DeleteFunc(points, func(m mark) bool {
		name, _ := s.code.place(m.pc + s.code.slide)
		return m.pc == sleeping || !strings.HasSuffix(name, s.opts.In)
	})
}

// sample chooses among points: those whose hash comes first, so that a run that
// is a little longer, as stack growth makes it, changes little. The choice is
// in the order of the points.
func (s *stage) sample(points []mark) []int {
	ks := make([]int, len(points))
	for k := range ks {
		ks[k] = k
	}
	rank := make([]uint64, len(points))
	for k, m := range points {
		rank[k] = rand.NewPCG(s.opts.Seed^uint64(s.cast)<<56, m.pc<<20|uint64(m.n)).Uint64()
	}
	slices.SortFunc(ks, func(a, b int) int { return cmp.Compare(rank[a], rank[b]) })
	want, _ := s.opts.count(len(ks)) // fill has seen to errors
	ks = ks[:want]
	slices.Sort(ks)
	return ks
}
