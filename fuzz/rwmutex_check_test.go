package fuzz_test

import (
	"errors"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

func TestRWMutexModel(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    rwMutex
		size int // 0: always, 1: not with -short or -race, 2: only with -long
	}{
		{"one writer,three readers", rwMutex{processes: 4, writers: 1, crashes: 1}, 0},
		{"two writers,two readers", rwMutex{processes: 4, writers: 2, crashes: 1}, 0},
		{"giving up", rwMutex{processes: 3, writers: 1, crashes: 1, giveUps: 1}, 0},
		{"two crashes", rwMutex{processes: 3, writers: 1, crashes: 2}, 0},
		{"late", rwMutex{processes: 3, writers: 1, crashes: 1, late: fuzz.LateAny, timer: true}, 0},
		{"one writer,three readers,two crashes", rwMutex{processes: 4, writers: 1, crashes: 2}, 1},
		{"two writers,two readers,two crashes", rwMutex{processes: 4, writers: 2, crashes: 2}, 1},
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

// Each mistake must be found, and by the rule that it breaks.
func TestRWMutexMistakes(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    rwMutex
		want error // nil: a step that must never happen
	}{
		{"the writer looks before it closes", rwMutex{processes: 2, writers: 1, looksEarly: true}, errReaderAndWriter},
		{"the reader looks before it counts", rwMutex{processes: 2, writers: 1, gateFirst: true}, errReaderAndWriter},
		{"drop without the generation", rwMutex{processes: 4, writers: 1, crashes: 1, dropsAny: true}, nil},
		{"drop before full death", rwMutex{processes: 2, writers: 1, crashes: 1, late: fuzz.LateAny, timer: true, dropsDying: true}, errReaderAndWriter},
		{"a slot is taken with what is in it", rwMutex{processes: 4, writers: 1, crashes: 1, inheritsLate: true}, nil},
		{"open, then wake, unnamed", rwMutex{processes: 3, writers: 1, crashes: 1, openUnnamed: true}, fuzz.ErrStuck},
		{"leave, then wake, unnamed", rwMutex{processes: 2, writers: 1, crashes: 1, leaveUnnamed: true}, fuzz.ErrStuck},
		{"who is woken by a death keeps it for itself", rwMutex{processes: 4, writers: 1, crashes: 1, noPassing: true}, fuzz.ErrStuck},
		{"the last reader leaves no mark", rwMutex{processes: 2, writers: 1, crashes: 1, noPhase: true}, fuzz.ErrStuck},
		{"recovery opens, then notes", rwMutex{processes: 3, writers: 1, crashes: 1, opensFirst: true}, nil},
		{"nobody notes who is inside", rwMutex{processes: 2, writers: 1, crashes: 1, noInside: true}, nil},
		{"no reader recovers", rwMutex{processes: 2, writers: 1, crashes: 1, neverRecovers: true}, fuzz.ErrStuck},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := fuzz.Check(row.v.model())
			if testing.Verbose() {
				t.Log(r, r.Elapsed)
			}
			if r.Err == nil || row.want != nil && !errors.Is(r.Err, row.want) ||
				row.want == nil && (errors.Is(r.Err, fuzz.ErrStuck) || errors.Is(r.Err, errReaderAndWriter)) {
				t.Errorf("got %v, want %v", r, row.want)
			}
			if len(r.Trace) == 0 {
				t.Error("no trace")
			}
		})
	}
}
