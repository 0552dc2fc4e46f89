package fuzz_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
)

var (
	writeBroken = fuzz.RegisterOp("test/write-two-steps", 4096, writeOp(false))
	writeRight  = fuzz.RegisterOp("test/write-one-step", 4096, writeOp(true))
)

// writeOp writes two numbers into the segment's file, by one system call or two,
// and goes on for a while.
func writeOp(one bool) func(*fuzz.Segment) fuzz.Op {
	return func(s *fuzz.Segment) fuzz.Op {
		return fuzz.Op{
			Do: func() error {
				for i := byte(1); i < 200; i++ {
					if one {
						s.File.WriteAt([]byte{i, i}, 0)
					} else {
						s.File.WriteAt([]byte{i}, 0)
						s.File.WriteAt([]byte{i}, 1)
					}
				}
				return nil
			},
			Check: func(bool) error {
				if s.Mem[0] != s.Mem[1] {
					return errors.New("half an update")
				}
				return nil
			},
		}
	}
}

// Points at system calls find what is broken between two of them, and only
// that.
func TestKillAtCalls(t *testing.T) {
	opts := options("24")
	opts.At, opts.Seed = fuzz.Calls, 1
	if rep := fuzz.KillEach(t, writeBroken, opts); rep.Corrupt == 0 || rep.Runs[0].Length != 4*199 {
		t.Errorf("of the broken: %+v, want 796 points, some of them corrupt", rep.Runs)
	} else if tr := rep.Traces[0]; !strings.Contains(tr.String(), ", pwrite64, ") || !strings.Contains(tr.Func, "writeOp") {
		t.Errorf("the trace %q does not say which call, or whose", tr)
	}
	if rep := fuzz.KillEach(t, writeRight, opts); rep.Corrupt != 0 || rep.Points != 24 || rep.Runs[0].Length != 2*199 {
		t.Errorf("of the right one: %+v, want 398 points, none corrupt", rep)
	}
	if rep := fuzz.PauseEach(t, writeBroken, opts); rep.Corrupt+rep.Stuck != 0 {
		t.Errorf("paused: %+v, want nothing", rep)
	}
}

// Random moments find it, too, in time.
func TestKillAtMoments(t *testing.T) {
	opts := options("12")
	opts.At = fuzz.Moments
	for end := time.Now().Add(30 * time.Second); ; {
		if fuzz.KillEach(t, writeBroken, opts).Corrupt > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("half an update was never seen")
		}
	}
	if rep := fuzz.KillEach(t, writeRight, opts); rep.Corrupt != 0 || rep.Points == 0 {
		t.Errorf("of the right one: %+v", rep)
	}
}
