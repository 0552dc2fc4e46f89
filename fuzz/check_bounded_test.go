package fuzz_test

import (
	"errors"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// A bounded sleep is a way out, one beside it that isn't bounded is none, and
// a bound ends with the sleep that it was for.
func TestCheckBoundedSleep(t *testing.T) {
	const start, again, end = 0, 1, 2
	model := func(first, second bool) *fuzz.Model {
		sleep := func(w *fuzz.World, bounded bool, next int) {
			if bounded {
				w.SleepBounded(next, 0)
			} else {
				w.Sleep(next, 0)
			}
		}
		return &fuzz.Model{
			Name: "sleeps", Processes: 1, Threads: 1,
			Cells: []fuzz.Cell{{Name: "word"}},
			Steps: []fuzz.Step{
				start: {Name: "sleep", Do: func(w *fuzz.World) { sleep(w, first, again) }},
				again: {Name: "sleep again", Do: func(w *fuzz.World) {
					if w.Wakeup() != fuzz.TimedOut {
						w.Fail("woken by nobody")
					}
					sleep(w, second, end)
				}},
				end: {Name: "end", Do: func(w *fuzz.World) { w.Finish() }},
			},
		}
	}
	if r := fuzz.Check(model(true, true)); r.Err != nil {
		t.Error(r)
	}
	if r := fuzz.Check(model(true, false)); !errors.Is(r.Err, fuzz.ErrStuck) {
		t.Error(r)
	}
	if r := fuzz.Check(model(false, true)); !errors.Is(r.Err, fuzz.ErrStuck) {
		t.Error(r)
	}
}
