package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
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

var exit = proc.Register("exit", func(_ context.Context, code int) error {
	os.Exit(code)
	return nil
})

var fail = proc.Register("fail", func(_ context.Context, text string) error { return errors.New(text) })

var die = proc.Register("die", func(_ context.Context, sig int) error {
	signal.Reset()
	syscall.Kill(os.Getpid(), syscall.Signal(sig))
	select {}
})

var crash = proc.Register("crash", func(_ context.Context, how string) error {
	switch how {
	case "panic":
		panic("boom")
	case "goroutine":
		go func() { panic("boom elsewhere") }()
		select {}
	case "stack":
		debug.SetMaxStack(1 << 16)
		os.Exit(recurse(0))
	case "nil":
		var p *int
		*p = 1
	case "goexit":
		runtime.Goexit()
	case "empty":
		return errors.New("")
	case "both":
		defer panic("deferred")
		return errors.New("lost")
	}
	return nil
})

//go:noinline
func recurse(n int) int {
	if n < 0 {
		return 0
	}
	return recurse(n+1) + 1
}

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

// quiet keeps a crash's text off the test's output.
func quiet(t *testing.T) *proc.Cmd {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return &proc.Cmd{Stderr: null}
}

func TestCase215_Ends(t *testing.T) {
	tests := []struct {
		name   string
		p      func(t *testing.T) *proc.Process
		code   int
		signal syscall.Signal
		msg    string // exactly
		crash  string // has this
		line   string // Error() has this
	}{
		{"code 1", func(t *testing.T) *proc.Process { return started(t, exit, nil, 1) }, 1, 0, "", "", "exit (pid "},
		{"code 255", func(t *testing.T) *proc.Process { return started(t, exit, nil, 255) }, 255, 0, "", "", "exit status 255"},
		{"SIGTERM", func(t *testing.T) *proc.Process { return started(t, die, nil, int(syscall.SIGTERM)) }, -1, syscall.SIGTERM, "", "", "signal: terminated"},
		{"SIGKILL", func(t *testing.T) *proc.Process { return started(t, die, nil, int(syscall.SIGKILL)) }, -1, syscall.SIGKILL, "", "", "signal: killed"},
		{"error", func(t *testing.T) *proc.Process { return started(t, fail, nil, "no luck\nat all") }, 1, 0, "no luck\nat all", "", "exit status 1: no luck"},
		{"empty error", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "empty") }, 1, 0, "", "", "exit status 1"},
		{"long error", func(t *testing.T) *proc.Process { return started(t, fail, nil, strings.Repeat("x", 100_000)) }, 1, 0, strings.Repeat("x", 100_000), "", "xxx"},
		{"panic", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "panic") }, 2, 0, "", "process_test.go", "exit status 2: panic: boom"},
		{"panic in a goroutine", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "goroutine") }, 2, 0, "", "goroutine ", "panic: boom elsewhere"},
		{"throw", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "stack") }, 2, 0, "", "process_test.go", "exit status 2: a fatal error"},
		{"nil dereference", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "nil") }, 2, 0, "", "SIGSEGV", "nil pointer dereference"},
		{"Goexit", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "goexit") }, 1, 0, "the function called runtime.Goexit", "", "Goexit"},
		{"panic after return", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "both") }, 2, 0, "", "deferred", "panic: deferred"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := tt.p(t).Wait(within(t))
			var e *proc.ExitError
			if !errors.As(err, &e) || s == nil || s != e.State {
				t.Fatalf("Wait: %v, %v", s, err)
			}
			if s.ExitCode() != tt.code || s.Signal() != tt.signal || s.Success() {
				t.Errorf("state: %v, want code %d, signal %v", s, tt.code, tt.signal)
			}
			if e.Msg != tt.msg {
				t.Errorf("message %q, want %q", e.Msg, tt.msg)
			}
			if !strings.Contains(string(e.Crash), tt.crash) || (tt.crash == "") != (len(e.Crash) == 0) {
				t.Errorf("crash %q, want %q in it", e.Crash, tt.crash)
			}
			if !strings.Contains(err.Error(), tt.line) {
				t.Errorf("error %q, want %q in it", err, tt.line)
			}
		})
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
	if err := p.Kill(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Kill after Release: %v", err)
	}
}

func TestCase237_ConcurrentStarts(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 30 {
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
	for range 20 {
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

func TestNothingLeft(t *testing.T) { leavesNothing(t, 200) }

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

func ExampleRegister() {
	// In a package variable of the program:
	//
	//	var greet = proc.Register("greet", func(ctx context.Context, who string) error {
	//		fmt.Println("hello,", who)
	//		return nil
	//	})
	r, w, _ := os.Pipe()
	p, err := greet.StartCmd(context.Background(), &proc.Cmd{Stdout: w}, "world")
	w.Close()
	if err != nil {
		fmt.Println(err)
		return
	}
	var text string
	fmt.Fscanf(r, "%q", &text)
	r.Close()
	state, err := p.Wait(context.Background())
	fmt.Println(text, state, err)
	// Output: hello, world exit status 0 <nil>
}

var greet = proc.Register("greet", func(_ context.Context, who string) error {
	fmt.Printf("%q", "hello, "+who)
	return nil
})
