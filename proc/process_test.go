package proc_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
)

var nothing = proc.Register("nothing", func(context.Context, struct{}) error { return nil })

// idle lives until it is told to end.
var idle = proc.Register("idle", func(ctx context.Context, _ struct{}) error {
	<-ctx.Done()
	return nil
})

// deaf does not care for SIGTERM.
var deaf = proc.Register("deaf", func(ctx context.Context, _ struct{}) error {
	<-ctx.Done()
	select {}
})

func TestStartWait(t *testing.T) {
	p := started(t, nothing, nil, struct{}{})
	if p.Pid() <= 0 || p.Name() != "nothing" {
		t.Errorf("pid %d, name %q", p.Pid(), p.Name())
	}
	for range 2 { // the second answer is the first one's
		s, err := p.Wait(within(t))
		if err != nil || !s.Success() || s.ExitCode() != 0 || s.Signal() != 0 {
			t.Fatalf("Wait: %v, %v", s, err)
		}
		if s.UserTime()+s.SystemTime() <= 0 || s.MaxRSS() < 1<<16 {
			t.Errorf("user %v, system %v, max RSS %d", s.UserTime(), s.SystemTime(), s.MaxRSS())
		}
	}
	if p.Alive() {
		t.Error("alive after Wait")
	}
	if err := p.Signal(syscall.SIGTERM); err != os.ErrProcessDone {
		t.Errorf("Signal after the end: %v", err)
	}
}

func TestCase230_TerminateAndKill(t *testing.T) {
	p := started(t, idle, nil, struct{}{})
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if s, err := p.Wait(within(t)); err != nil {
		t.Errorf("a function that obeys: %v, %v", s, err)
	}
	p = started(t, deaf, nil, struct{}{})
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if s, err := p.Wait(short); s != nil || err != context.DeadlineExceeded {
		t.Errorf("Wait with a deadline: %v, %v", s, err)
	}
	if !p.Alive() {
		t.Error("the end of a Wait ended the process")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if s, err := p.Wait(within(t)); err == nil || s.Signal() != syscall.SIGKILL {
		t.Errorf("killed: %v, %v", s, err)
	}
}

func TestContextEndsProcess(t *testing.T) {
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	p, err := idle.Start(ctx, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	cancel(why)
	if s, err := p.Wait(within(t)); err != nil {
		t.Errorf("a function that obeys: %v, %v", s, err)
	}

	ctx, cancel = context.WithCancelCause(t.Context())
	const delay = 100 * time.Millisecond
	p, err = deaf.StartCmd(ctx, &proc.Cmd{Name: "stubborn", WaitDelay: delay}, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	cancel(why)
	s, err := p.Wait(within(t))
	if took := time.Since(begin); took < delay {
		t.Errorf("killed after %v, before WaitDelay", took)
	}
	var e *proc.ExitError
	if !errors.As(err, &e) || s.Signal() != syscall.SIGKILL || e.Cause != why || errors.Is(err, context.Canceled) {
		t.Errorf("a function that does not: %v, %v", s, err)
	}
	if !strings.Contains(err.Error(), "stubborn") || !strings.Contains(err.Error(), "enough") {
		t.Errorf("error: %q", err)
	}

	if _, err := idle.Start(ctx, struct{}{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start with a context that has ended: %v", err)
	}
	noChildren(t)
}

// watched counts who waits for its end, by the method that context.AfterFunc
// looks for.
type watched struct {
	context.Context
	done chan struct{}
	n    atomic.Int32
}

func (w *watched) Done() <-chan struct{} { return w.done }
func (w *watched) AfterFunc(func()) (stop func() bool) {
	w.n.Add(1)
	return func() bool { w.n.Add(-1); return true }
}

func TestContextIsLeft(t *testing.T) {
	ctx := &watched{Context: context.Background(), done: make(chan struct{})}
	p, err := idle.Start(ctx, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	if n := ctx.n.Load(); n != 1 {
		t.Errorf("%d watch the context of a running process, want 1", n)
	}
	p.Terminate()
	if _, err := p.Wait(within(t)); err != nil {
		t.Error(err)
	}
	if n := ctx.n.Load(); n != 0 {
		t.Errorf("%d watch the context after the end", n)
	}
}

func TestCase216_WaitFromMany(t *testing.T) {
	p := started(t, exit, nil, 3)
	var wg sync.WaitGroup
	states := make([]*proc.State, 8)
	errs := make([]error, 8)
	for i := range 8 {
		wg.Go(func() { states[i], errs[i] = p.Wait(within(t)) })
	}
	wg.Wait()
	for i := range 8 {
		if states[i] == nil || states[i] != states[0] || errs[i] != errs[0] {
			t.Errorf("Wait %d: %v, %v; Wait 0: %v, %v", i, states[i], errs[i], states[0], errs[0])
		}
	}
}

func TestCase217_Release(t *testing.T) {
	p := started(t, idle, nil, struct{}{})
	if err := p.Release(); err == nil || !strings.Contains(err.Error(), "not ended") {
		t.Errorf("Release of a running process: %v", err)
	}
	rc, err := p.SyscallConn()
	if err != nil {
		t.Skip(err) // no pidfd here
	}
	p.Terminate()
	if _, err := p.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := rc.Control(func(uintptr) {}); err != nil {
		t.Errorf("the descriptor that was asked for, after Wait: %v", err)
	}
	for range 2 {
		if err := p.Release(); err != nil {
			t.Errorf("Release: %v", err)
		}
	}
	if rc.Control(func(uintptr) {}) == nil {
		t.Error("the descriptor is open after Release")
	}
	if _, err := p.Wait(within(t)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Wait after Release: %v", err)
	}
	for what, err := range map[string]error{"Kill": p.Kill(), "Terminate": p.Terminate(), "Signal": p.Signal(0)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Release: %v", what, err)
		}
	}
	if _, err := p.SyscallConn(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("SyscallConn after Release: %v", err)
	}
}

func TestCase237_ConcurrentStarts(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			p, err := exit.Start(context.Background(), i)
			if err != nil {
				t.Error(err)
				return
			}
			if s, err := p.Wait(within(t)); s == nil || s.ExitCode() != i {
				t.Errorf("child %d: %v, %v", i, s, err)
			}
		})
	}
	wg.Wait()
	noChildren(t)
}

// TestCase221_Races lets every method that touches the descriptor meet the end of
// the process: none may reach a descriptor, or a process, of somebody else.
func TestCase221_Races(t *testing.T) {
	for range rounds(20, 6) {
		p, err := idle.Start(context.Background(), struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		ok := func(what string, err error, allowed ...error) {
			for _, a := range append(allowed, nil, os.ErrClosed, os.ErrProcessDone) {
				if errors.Is(err, a) {
					return
				}
			}
			t.Errorf("%s: %v", what, err)
		}
		for range 2 {
			wg.Go(func() { ok("Kill", p.Kill()) })
			wg.Go(func() {
				if _, err := p.Wait(within(t)); !errors.As(err, new(*proc.ExitError)) {
					ok("Wait", err)
				}
			})
			wg.Go(func() {
				<-p.Done()
				ok("Release", p.Release())
			})
			wg.Go(func() {
				for p.Alive() {
					ok("Signal", p.Signal(0))
				}
				ok("Signal", p.Signal(0))
			})
		}
		wg.Wait()
	}
	noChildren(t)
}

func TestCase238_StoppedChild(t *testing.T) {
	p := started(t, idle, nil, struct{}{})
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if s, err := p.Wait(short); s != nil || err != context.DeadlineExceeded || !p.Alive() {
		t.Errorf("Wait for a stopped process: %v, %v", s, err)
	}
	p.Terminate()
	p.Signal(syscall.SIGCONT)
	if s, err := p.Wait(within(t)); err != nil {
		t.Errorf("after SIGCONT: %v, %v", s, err)
	}
}

func leavesNothing(t *testing.T, rounds int) {
	round := func() {
		p, err := nothing.Start(context.Background(), struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	round()
	before := descriptors(t)
	goroutines := runtime.NumGoroutine()
	for range rounds {
		round()
	}
	if after := descriptors(t); len(after) != len(before) {
		t.Errorf("descriptors before: %v\nafter: %v", before, after)
	}
	noChildren(t)
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
		time.Sleep(time.Millisecond)
	}
}
