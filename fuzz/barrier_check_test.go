package fuzz_test

import (
	"errors"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

func TestBarrierModel(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    barrier
		size int // 0: always, 1: not with -short or -race, 2: only with -long
	}{
		{"4 of 4", barrier{processes: 4, parties: 4, crashes: 1}, 0},
		{"4 of 4, 2 crashes, late", barrier{processes: 4, parties: 4, crashes: 2, late: fuzz.LateAny}, 0},
		{"2 of 4", barrier{processes: 4, parties: 2, crashes: 1}, 1},
		{"2 of 3", barrier{processes: 3, parties: 2, crashes: 1, odd: true}, 0},
		{"2 of 3, 2 crashes, late", barrier{processes: 3, parties: 2, crashes: 2, odd: true, late: fuzz.LateAny}, 0},
		{"3 of 3, break and reset", barrier{processes: 4, parties: 3, resets: 1, breaks: true}, 0},
		{"2 of 2, break and reset", barrier{processes: 3, parties: 2, resets: 1, breaks: true, crashes: 1}, 0},
		{"2 of 4, 1 reset", barrier{processes: 5, parties: 2, resets: 1}, 2},
		{"3 of 3, 1 reset, 1 crash", barrier{processes: 4, parties: 3, resets: 1, crashes: 1}, 2},
		{"3 of 3, break and reset, 1 crash, late", barrier{processes: 4, parties: 3, resets: 1, breaks: true, crashes: 1, late: fuzz.LateAny}, 2},
		{"3 of 3, 2 resets", barrier{processes: 4, parties: 3, resets: 2}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.size == 1 && (testing.Short() || fuzz.RaceBuild) || row.size == 2 && !*long {
				t.Skip("too large for this run")
			}
			r := fuzz.Check(row.v.model())
			t.Log(r, r.Elapsed)
			if r.Err != nil {
				t.Error("does not hold")
			}
		})
	}
}

func TestBarrierMistakes(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    barrier
		want error
	}{
		{"sleeps on one bit of the rounds", barrier{processes: 4, parties: 3, resets: 1, breaks: true, noEnds: true}, fuzz.ErrStuck},
		{"rounds wrap", barrier{processes: 5, parties: 2, resets: 2, wrap: true}, errDisagree},
		{"no pending at the end", barrier{processes: 4, parties: 4, crashes: 1, noPending: true}, fuzz.ErrStuck},
		{"nobody helps the last round", barrier{processes: 4, parties: 3, resets: 1, crashes: 1, noHelp: true}, fuzz.ErrStuck},
		{"the wake is not passed on", barrier{processes: 4, parties: 4, crashes: 1, noPass: true}, fuzz.ErrStuck},
		{"one is woken", barrier{processes: 4, parties: 4, oneWake: true}, fuzz.ErrStuck},
		{"a pair's wake is not handed on", barrier{processes: 3, parties: 2, crashes: 1, odd: true, noHandOn: true}, fuzz.ErrStuck},
		{"three as a pair", barrier{processes: 4, parties: 4, crashes: 1, allPairs: true}, fuzz.ErrStuck},
		{"no past", barrier{processes: 5, parties: 2, resets: 1, noPast: true}, errDisagree},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.v.resets > 0 && row.v.crashes > 0 && (testing.Short() || fuzz.RaceBuild) {
				t.Skip("too large for this run")
			}
			r := fuzz.Check(row.v.model())
			if testing.Verbose() {
				t.Log(r, r.Elapsed)
			}
			if !errors.Is(r.Err, row.want) {
				t.Errorf("got %v, want %v", r, row.want)
			}
			if len(r.Trace) == 0 {
				t.Error("no trace")
			}
		})
	}
}
