package proc_test

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/proc"
)

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
	case "map":
		m := map[int]int{}
		for range 4 {
			go func() {
				for {
					m[1] = 1
				}
			}()
		}
		select {}
	case "unlock":
		new(sync.Mutex).Unlock()
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
		{"panic", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "panic") }, 2, 0, "", "ends_test.go", "exit status 2: panic: boom"},
		{"panic in a goroutine", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "goroutine") }, 2, 0, "", "goroutine ", "panic: boom elsewhere"},
		{"throw", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "stack") }, 2, 0, "", "ends_test.go", "exit status 2: fatal error: stack overflow"},
		{"two writers of a map", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "map") }, 2, 0, "", "goroutine ", "fatal error: concurrent map "},
		{"unlock of unlocked", func(t *testing.T) *proc.Process { return started(t, crash, quiet(t), "unlock") }, 2, 0, "", "ends_test.go", "fatal error: sync: unlock of unlocked mutex"},
		{"SIGSEGV", func(t *testing.T) *proc.Process { return script(t, proc.Cmd{}, "ulimit -c 0; kill -SEGV $$") }, -1, syscall.SIGSEGV, "", "", "signal: segmentation fault"},
		{"a program's code", func(t *testing.T) *proc.Process { return script(t, proc.Cmd{}, "exit 255") }, 255, 0, "", "", "exit status 255"},
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
				t.Errorf("crash %.300q, want %q in it", e.Crash, tt.crash)
			}
			if !strings.Contains(err.Error(), tt.line) {
				t.Errorf("error %q, want %q in it", err, tt.line)
			}
		})
	}
}
