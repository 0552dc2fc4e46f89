package fuzz

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// At says where the points of KillEach and PauseEach are.
type At int

const (
	// Instructions: before each instruction of Options.Packages, and asleep in
	// the kernel.
	Instructions At = iota
	// Calls: before and after each system call that the operation makes on its
	// thread, in whichever package, and asleep in the kernel; the Go runtime's
	// own are left out. For operations too long for Instructions.
	Calls
	// Moments: at random times between the operation's begin and its end, on
	// whichever instruction. Options.Points must be a number; Default: 16. For
	// operations that go on for milliseconds.
	Moments
)

// The marks of these points: no instruction has such an address.
const (
	beforeCall uint64 = 1 + iota
	afterCall
	atMoment // at n nanoseconds
)

// toCall goes from one system call to the next, until the point.
func (t *tracer) toCall(pass func(uint64) bool, asleep func() halt) (halt, error) {
	if err := t.setBreaks(t.end); err != nil {
		return 0, err
	}
	inside := false
	for limit := time.Now().Add(bootTime); t.pc != t.end; t.steps++ {
		if time.Now().After(limit) {
			return 0, fmt.Errorf("%w: Do has not ended in %v; it is in %s after %d stops", errLost, bootTime, t.where(), t.steps)
		}
		_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SYSCALL, uintptr(t.tid), 0, uintptr(t.sig), 0, 0)
		if e != 0 {
			return 0, e
		}
		if h, err := t.wait(asleep); h != running || err != nil {
			return h, err
		}
		if !t.inCall {
			continue // a signal, or the end
		}
		inside = !inside
		if !counts(t.pc - t.code.slide) {
			continue
		}
		at := afterCall
		if inside {
			at = beforeCall
		}
		if pass(at) {
			return atPoint, nil
		}
	}
	return finished, t.clearBreaks()
}

// toMoment lets the victim run for a while.
func (t *tracer) toMoment(after time.Duration) (halt, error) {
	if err := t.setBreaks(t.end); err != nil {
		return 0, err
	}
	if err := unix.PtraceCont(t.tid, t.sig); err != nil {
		return 0, err
	}
	for end := time.Now().Add(after); time.Now().Before(end); {
	}
	if err := t.interrupt(); err != nil {
		return 0, err
	}
	if t.pc != t.end {
		return atPoint, nil
	}
	if t.event { // the breakpoint's own stop is still to come
		if h, err := t.resume(nil); h != running || err != nil {
			return h, err
		}
	}
	return finished, t.clearBreaks()
}

// moments are random ones within the time that an undisturbed run took.
func (s *stage) moments(took time.Duration) []mark {
	want, _ := s.opts.count(momentsTried)
	r := rand.New(rand.NewPCG(s.opts.Seed, uint64(s.cast)))
	var points []mark
	for range want {
		points = append(points, mark{atMoment, int(r.Int64N(max(int64(took), 1)))})
	}
	return points
}

// momentsTried bounds the number of moments in a cast.
const momentsTried = 1 << 20

// whence says where a point of another kind than an instruction is.
func (m mark) whence(call string) string {
	switch m.pc {
	case beforeCall:
		return fmt.Sprintf("before system call %d, %s, ", m.n+1, call)
	case afterCall:
		return fmt.Sprintf("after system call %d, %s, ", m.n+1, call)
	case atMoment:
		return strings.TrimSpace(fmt.Sprint(time.Duration(m.n))) + " after its begin, "
	}
	return ""
}
