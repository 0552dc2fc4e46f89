package fuzz_test

import (
	"errors"
	"flag"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

var long = flag.Bool("long", false, "also run the largest models and the longest soaks")

func TestRobustMutexModel(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    robustMutex
		size int // 0: always, 1: not with -short or -race, 2: only with -long
	}{
		{"2x2,2", robustMutex{processes: 2, threads: 2, crashes: 2}, 0},
		{"2x2,2,late", robustMutex{processes: 2, threads: 2, crashes: 2, late: late, timer: true}, 0},
		{"3x1,2,twice", robustMutex{processes: 3, threads: 1, crashes: 2, rounds: 2}, 0},
		{"3x1,2,twice,late", robustMutex{processes: 3, threads: 1, crashes: 2, rounds: 2, late: late, timer: true}, 0},
		{"2x2,2,split", robustMutex{processes: 2, threads: 2, crashes: 2, split: true}, 0},
		{"2x2,2,late system calls", robustMutex{processes: 2, threads: 2, crashes: 2, late: fuzz.LateSystem}, 0},
		{"2x2,1,false mark,giving up,spurious", robustMutex{processes: 2, threads: 2, crashes: 1, falseOD: true, giveUps: 1, spurious: true}, 0},
		{"2x2,1,false mark,giving up,late", robustMutex{processes: 2, threads: 2, crashes: 1, late: late, timer: true, falseOD: true, giveUps: 1}, 1},
		{"2x3,1", robustMutex{processes: 2, threads: 3, crashes: 1}, 1},
		{"2x2,1,twice", robustMutex{processes: 2, threads: 2, crashes: 1, rounds: 2}, 1},
		{"3x2,1", robustMutex{processes: 3, threads: 2, crashes: 1}, 1},
		{"3x2,2", robustMutex{processes: 3, threads: 2, crashes: 2}, 2},
		{"3x2,2,late system calls", robustMutex{processes: 3, threads: 2, crashes: 2, late: fuzz.LateSystem}, 2},
		{"3x2,2,late", robustMutex{processes: 3, threads: 2, crashes: 2, late: late, timer: true}, 2},
		{"3x2,2,late,split", robustMutex{processes: 3, threads: 2, crashes: 2, late: late, timer: true, split: true}, 2},
		{"3x2,2,late,false mark,giving up", robustMutex{processes: 3, threads: 2, crashes: 2, late: late, timer: true, falseOD: true, giveUps: 1}, 2},
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
func TestRobustMutexMistakes(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    robustMutex
		want error
	}{
		{"no pending while sleeping", robustMutex{processes: 2, threads: 2, crashes: 1, noPending: true}, fuzz.ErrStuck},
		{"no pending at unlock", robustMutex{processes: 2, threads: 1, crashes: 1, split: true, noUnlockPending: true}, fuzz.ErrStuck},
		{"unlock drops WAITERS", robustMutex{processes: 3, threads: 1, crashes: 0, dropAtUnlock: true}, fuzz.ErrStuck},
		{"recovery drops WAITERS", robustMutex{processes: 2, threads: 2, crashes: 1, dropAtRecovery: true}, fuzz.ErrStuck},
		{"WAITERS cleared without waking all", robustMutex{processes: 3, threads: 2, crashes: 0, tidy: true}, fuzz.ErrStuck},
		{"acquire before full death", robustMutex{processes: 2, threads: 2, crashes: 1, acquireEarly: true}, errTwoHold},
		{"acquire, then await full death", robustMutex{processes: 3, threads: 2, crashes: 2, acquireThenWait: true}, errTwoHold},
		{"no probe", robustMutex{processes: 2, threads: 2, crashes: 2, late: late, timer: true, noProbe: true}, fuzz.ErrStuck},
		{"no timer", robustMutex{processes: 2, threads: 2, crashes: 1, late: late}, fuzz.ErrStuck},
		{"guardian's pending at unlock", robustMutex{processes: 2, threads: 2, crashes: 1, split: true, guardianUnlock: true}, fuzz.ErrStuck},
		{"pending on another thread", robustMutex{processes: 2, threads: 2, crashes: 1, carrier: true}, fuzz.ErrStuck},
		{"unlock refuses a false mark", robustMutex{processes: 2, threads: 1, falseOD: true, strictUnlock: true}, fuzz.ErrStuck},
		{"acquire on a false mark", robustMutex{processes: 2, threads: 2, falseOD: true, acquireEarly: true}, errLost},
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
