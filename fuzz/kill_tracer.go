package fuzz

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// halt says where the tracer left the victim.
type halt int

const (
	running       halt = iota // not halted
	atPoint                   // stopped before the instruction at pc
	asleepAtPoint             // not stopped: asleep in the kernel
	neverWoken                // the same, nobody came, and it was not the point
	finished                  // stopped behind Do
)

const eventStop = 128 // PTRACE_EVENT_STOP

// noBreakpoints is for the test of how it goes without breakpoint registers.
var noBreakpoints bool

// errLost: in time the victim came neither to the point nor to the end. On a busy
// machine a peer that should come behind it can come before.
var errLost = errors.New("fuzz: lost the victim")

var errVictimGone = errors.New("fuzz: the victim ended by itself")

// tracer drives one thread of the victim. All of it runs on one locked thread
// of the tester, as ptrace demands.
type tracer struct {
	*player
	code  *codeMap
	sleep time.Duration // how long the victim may sleep before nobody comes,
	calm  func() bool   // if all rest
	steps int
	soft  bool   // no breakpoint registers: step through everything
	trail []mark // the points passed
	pc    uint64
	sig   int // to be delivered at the next resume
	at    At
	// inCall says that the last stop was at a system call's begin or end.
	inCall bool
	event  bool          // or that it was no signal's
	took   time.Duration // of an undisturbed run to the end
	word   []byte        // scratch
}

// attach seizes the victim's thread, stops it and ties its life to ours.
func attach(p *player, code *codeMap, cpu int, sleep time.Duration) (*tracer, error) {
	t := &tracer{player: p, code: code, sleep: sleep, soft: noBreakpoints, word: make([]byte, 8)}
	code.slide = p.begin - entry(stepBegin)
	if err := unix.PtraceSeize(p.tid); err != nil {
		return nil, os.NewSyscallError("ptrace", err)
	}
	// On one CPU a step costs two switches, on two it costs two wake-ups.
	var set unix.CPUSet
	set.Set(cpu)
	unix.SchedSetaffinity(p.tid, &set)
	if err := t.interrupt(); err != nil {
		return t, err
	}
	return t, os.NewSyscallError("ptrace", unix.PtraceSetOptions(p.tid, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACESYSGOOD))
}

// interrupt stops the victim wherever it is; a system call that it sleeps in
// is taken up again afterwards.
func (t *tracer) interrupt() error {
	if err := unix.PtraceInterrupt(t.tid); err != nil {
		return os.NewSyscallError("ptrace", err)
	}
	var ws unix.WaitStatus
	for {
		if pid, err := unix.Wait4(t.tid, &ws, unix.WALL, nil); pid != t.tid {
			if err == unix.EINTR {
				continue
			}
			return os.NewSyscallError("wait4", err)
		}
		return t.stopped(ws)
	}
}

// stopped takes note of a stop.
func (t *tracer) stopped(ws unix.WaitStatus) error {
	if !ws.Stopped() {
		return errVictimGone
	}
	t.event = ws>>16 == eventStop
	t.sig, t.inCall = 0, ws.StopSignal() == unix.SIGTRAP|0x80
	if t.inCall {
		return t.loadPC()
	}
	if sig := ws.StopSignal(); sig != unix.SIGTRAP && ws>>16 != eventStop {
		t.sig = int(sig)
	}
	return t.loadPC()
}

// walk lets the victim begin Do and halts it at a point, or nowhere if that is
// undisturbed. It calls blocked each time that the victim sleeps in Do and this
// is not the point; broken says that the victim has already reported the end
// of Do.
func (t *tracer) walk(to mark, blocked func(), broken func() bool) (h halt, err error) {
	passed := map[uint64]int{}
	// pass takes note of a point, and says whether it is the one.
	pass := func(pc uint64) bool {
		m := mark{pc, passed[pc]}
		if m == to {
			return true
		}
		passed[pc]++
		t.trail = append(t.trail, m)
		return false
	}
	asleep := func() halt {
		if pass(sleeping) {
			return asleepAtPoint
		}
		blocked()
		return running
	}
	if h, err = t.runTo(t.begin, nil); h != running || err != nil {
		return h, err
	}
	switch {
	case t.at == Calls:
		return t.toCall(pass, asleep)
	case t.at == Moments && to == undisturbed:
		begin := time.Now()
		h, err = t.arrive(to, pass, asleep)
		t.took = time.Since(begin)
		return h, err
	case t.at == Moments:
		return t.toMoment(time.Duration(to.n))
	case to != undisturbed && !t.soft:
		return t.arrive(to, pass, asleep)
	}
	limit, prev := time.Now().Add(bootTime), t.pc
	for t.pc != t.end {
		if t.steps++; t.steps&1023 == 0 && broken() {
			return 0, fmt.Errorf("%w in %s after %d steps", errLost, t.where(), t.steps)
		}
		if t.steps&1023 == 0 && time.Now().After(limit) {
			return 0, fmt.Errorf("%w: Do has not ended in %v; it is in %s after %d steps", errLost, bootTime, t.where(), t.steps)
		}
		ret, called := uint64(0), false
		switch t.code.classify(t.pc) {
		case ours:
			if pass(t.pc - t.code.slide) {
				return atPoint, nil
			}
		case through:
			// Only to a return address that was seen being pushed.
			ret, called = t.calledFrom(prev)
		}
		prev = t.pc
		if called && !t.soft {
			h, err = t.runTo(ret, asleep)
		} else {
			h, err = t.step(asleep)
		}
		if h != running || err != nil {
			return h, err
		}
	}
	return finished, nil
}

// step executes one instruction, in which the victim may fall asleep.
func (t *tracer) step(asleep func() halt) (halt, error) {
	call := t.code.entersKernel(t)
	sig := t.sig
	if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SINGLESTEP, uintptr(t.tid), 0, uintptr(sig), 0, 0); e != 0 {
		return 0, os.NewSyscallError("ptrace", e)
	}
	if !call {
		asleep = nil
	}
	return t.wait(asleep)
}

// runTo lets the victim run to an address that only its thread comes by.
func (t *tracer) runTo(addr uint64, asleep func() halt) (halt, error) {
	if !t.soft {
		if err := t.setBreaks(addr); err != nil {
			t.soft = true
		}
	}
	for t.pc != addr {
		if t.soft {
			if h, err := t.step(asleep); h != running || err != nil {
				return h, err
			}
			continue
		}
		if h, err := t.resume(asleep); h != running || err != nil {
			return h, err
		}
	}
	if t.soft {
		return running, nil
	}
	return running, t.clearBreaks()
}

// resume lets the victim run to the next stop.
func (t *tracer) resume(asleep func() halt) (halt, error) {
	if err := unix.PtraceCont(t.tid, t.sig); err != nil {
		return 0, os.NewSyscallError("ptrace", err)
	}
	return t.wait(asleep)
}

// wait waits for the next stop. With asleep given, it looks from time to time
// whether the victim sleeps in the kernel, and reports that once.
func (t *tracer) wait(asleep func() halt) (halt, error) {
	var ws unix.WaitStatus
	flags := unix.WALL
	if asleep != nil {
		flags |= unix.WNOHANG
	}
	var idleSince, deadline time.Time
	told, limit := false, time.Now().Add(bootTime)
	for i := 0; ; i++ {
		pid, err := unix.Wait4(t.tid, &ws, flags, nil)
		switch {
		case pid == t.tid:
			return running, t.stopped(ws)
		case err != nil && err != unix.EINTR:
			return 0, os.NewSyscallError("wait4", err)
		case asleep == nil:
			continue
		case i < 64:
			unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			continue
		}
		now := time.Now()
		switch how, _ := t.restOf(t.tid); {
		case now.After(limit):
			return neverWoken, nil
		case how == awake:
			idleSince, deadline = time.Time{}, time.Time{}
		case told:
			if deadline.IsZero() {
				deadline = now.Add(t.sleep)
			}
			if now.After(deadline) && t.calm() {
				return neverWoken, nil
			}
		case idleSince.IsZero():
			idleSince = now
		case now.Sub(idleSince) >= settle[how]:
			told = true
			if h := asleep(); h != running {
				return h, nil
			}
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil)
	}
}

// settle is how long a thread rests before it is taken to sleep within the
// operation, rather than to wait for the runtime's scheduler.
var settle = [...]time.Duration{
	onSegment: 100 * time.Microsecond,
	inCall:    2 * time.Millisecond,
	idle:      20 * time.Millisecond,
}

// release lets the victim, which must be stopped, go on untraced.
func (t *tracer) release() error {
	if !t.soft {
		t.clearBreaks()
	}
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(t.tid), 0, uintptr(t.sig), 0, 0)
	if e != 0 {
		return os.NewSyscallError("ptrace", e)
	}
	return nil
}

// reap collects the dead thread: until then its process is not over.
func (t *tracer) reap() {
	var ws unix.WaitStatus
	for {
		pid, err := unix.Wait4(t.tid, &ws, unix.WALL, nil)
		if err != nil && err != unix.EINTR || pid == t.tid && !ws.Stopped() {
			return
		}
	}
}

func (t *tracer) where() string {
	f, l := t.code.place(t.pc)
	return f + " " + l
}
