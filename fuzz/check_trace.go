package fuzz

import (
	"fmt"
	"strings"
)

// This file puts a state and the way to it into words.

func (w *World) what() string {
	switch {
	case w.P < 0:
		return w.step
	case w.T < 0:
		return fmt.Sprintf("P%d: %s", w.P+1, w.step)
	}
	return fmt.Sprintf("P%d.T%d: %s", w.P+1, w.T+1, w.step)
}

// describe writes the state on one line.
func (w *World) describe() string {
	var b strings.Builder
	b.WriteString("state:")
	for i, c := range w.m.Cells {
		fmt.Fprintf(&b, " %s=%d", c.Name, w.Get(i))
	}
	for p := range w.m.Processes {
		for t := range w.m.Threads {
			fmt.Fprintf(&b, "; P%d.T%d ", p+1, t+1)
			switch at := w.At(p, t); {
			case w.Gone(p, t):
				b.WriteString("dead")
			case at < 0:
				b.WriteString("finished")
			case w.Asleep(p, t):
				b.WriteString("asleep before " + w.m.Steps[at].Name)
			default:
				b.WriteString("before " + w.m.Steps[at].Name)
			}
			if w.Dying(p+1) && !w.Gone(p, t) {
				b.WriteString(" (dying)")
			}
		}
	}
	return b.String()
}

// fail replays the way to state i and writes it down. The replay starts from
// the initial state itself and follows the canonical states, so that P1 in
// the first line is the same process as P1 in the last.
func (x *search) fail(r *Verdict, i int, err error) *Verdict {
	r.Err = err
	var path []int
	for j := i; j != 0; j = int(x.from[j]) {
		path = append(path, j)
	}
	w := x.w
	cur := w.initial()
	buf := make([]byte, w.size)
	for k := len(path) - 1; k >= 0; k-- {
		want := x.set.at(path[k])
		w.successors(cur, func(next []byte) bool {
			if w.failed != nil {
				return true
			}
			copy(buf, next)
			x.canon.apply(buf)
			if string(buf) != string(want) {
				return true
			}
			r.Trace = append(r.Trace, w.what())
			copy(cur, next)
			return false
		})
	}
	w.successors(cur, func([]byte) bool { // if it was a step that failed
		if w.failed == nil || w.failed.Error() != err.Error() {
			return true
		}
		r.Trace = append(r.Trace, w.what())
		return false
	})
	if err == ErrStuck {
		x.wearOut(r, cur, buf)
	}
	w.show(cur)
	r.Trace = append(r.Trace, w.describe())
	return r
}

// wearOut lets a doomed state run on until nothing new happens, so that the
// trace ends where it can be seen who waits for what.
func (x *search) wearOut(r *Verdict, cur, buf []byte) {
	w, seen := x.w, map[string]bool{}
	r.Trace = append(r.Trace, "from here there is no way out:")
	for moved := true; moved && len(seen) < 100; {
		moved = false
		w.successors(cur, func(next []byte) bool {
			copy(buf, next)
			x.canon.apply(buf)
			if w.aside || w.failed != nil || seen[string(buf)] {
				return true
			}
			moved, seen[string(buf)] = true, true
			r.Trace = append(r.Trace, w.what())
			copy(cur, next)
			return false
		})
	}
}
