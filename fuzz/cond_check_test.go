package fuzz_test

import (
	"errors"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

func TestCondModel(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    cond
		size int // 0: always, 1: not with -short or -race, 2: only with -long
	}{
		{"4", cond{processes: 4}, 0},
		{"4, giving up", cond{processes: 4, giveUps: 1}, 0},
		{"4, 1 crash", cond{processes: 4, crashes: 1}, 0},
		{"4, 1 crash, late", cond{processes: 4, crashes: 1, late: fuzz.LateAny}, 0},
		{"5, 1 crash", cond{processes: 5, crashes: 1}, 2},
		{"5, 2 crashes, giving up", cond{processes: 5, crashes: 2, giveUps: 1}, 1},
		{"6, 2 crashes", cond{processes: 6, crashes: 2}, 2},
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

func TestCondMistakes(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    cond
		want error
	}{
		{"signals are anybody's", cond{processes: 4, pool: true}, errStolen},
		{"a sequence of one bit", cond{processes: 4, sequence: true}, fuzz.ErrStuck},
		{"wake, then store", cond{processes: 4, wakeFirst: true}, fuzz.ErrStuck},
		{"no pending at signal", cond{processes: 4, crashes: 1, noPending: true}, fuzz.ErrStuck},
		{"taken is consumed", cond{processes: 4, crashes: 1, noBusy: true}, fuzz.ErrStuck},
		{"nobody looks around", cond{processes: 4, crashes: 1, noReap: true}, fuzz.ErrStuck},
		{"cleared, then given", cond{processes: 5, crashes: 2, clear: true}, fuzz.ErrStuck},
		{"gives up without a look", cond{processes: 4, giveUps: 1, careless: true}, fuzz.ErrStuck},
	} {
		t.Run(row.name, func(t *testing.T) {
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
