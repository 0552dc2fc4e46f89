package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
)

// late looks at its context only when it is told to, in one of the ways there
// are, and then ends with its cause.
type late struct {
	How     string
	In, Out *os.File
}

var looksLate = proc.Register("looks late", func(ctx context.Context, a late) error {
	a.In.Read(make([]byte, 1))
	switch a.How {
	case "Done":
		<-ctx.Done()
	case "Err":
		for ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	case "Cause":
		for context.Cause(ctx) == nil {
			time.Sleep(time.Millisecond)
		}
	case "child":
		c, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		<-c.Done()
	case "AfterFunc":
		done := make(chan struct{})
		context.AfterFunc(ctx, func() { close(done) })
		<-done
	case "exec":
		return syscall.Exec(shell, []string{"sh", "-c", "while :; do sleep 1; done"}, nil)
	}
	_, err := fmt.Fprint(a.Out, ctx.Err(), "; ", context.Cause(ctx))
	return err
})

// TestTerminateIsHeld: a SIGTERM that comes before the function has looked at its
// context is there when it looks; until then it does not hurt it.
func TestTerminateIsHeld(t *testing.T) {
	for _, how := range []string{"Done", "Err", "Cause", "child", "AfterFunc"} {
		for _, early := range []bool{true, false} {
			in, inw := oneWay(t)
			r, w := oneWay(t)
			p := started(t, looksLate, nil, late{how, in, w})
			w.Close()
			if early {
				if err := p.Terminate(); err != nil {
					t.Fatal(err)
				}
				if err := p.Signal(syscall.SIGTERM); err != nil { // it is one
					t.Fatal(err)
				}
				time.Sleep(5 * time.Millisecond)
				if !p.Alive() {
					t.Error("ended before it looked")
				}
			}
			inw.Close()
			if !early {
				time.Sleep(5 * time.Millisecond)
				p.Terminate()
			}
			b, err := io.ReadAll(r)
			if want := "context canceled; proc: SIGTERM received"; string(b) != want {
				t.Errorf("%s, early %v: %q, %v, want %q", how, early, b, err, want)
			}
			if s, err := p.Wait(within(t)); err != nil {
				t.Errorf("%s, early %v: %v, %v", how, early, s, err)
			}
		}
	}
	// One that becomes another program gets it when it is that.
	in, inw := oneWay(t)
	p := started(t, looksLate, nil, late{How: "exec", In: in})
	p.Terminate()
	time.Sleep(5 * time.Millisecond)
	if !p.Alive() {
		t.Error("ended before it became another program")
	}
	inw.Close()
	if s, _ := p.Wait(within(t)); s == nil || s.Signal() != syscall.SIGTERM {
		t.Errorf("another program: %v", s)
	}
}

var never = proc.Register("never", func(context.Context, struct{}) error { select {} })

// TestNeverLooks: a function that does not care for its context ends by SIGKILL.
func TestNeverLooks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	const delay = 60 * time.Millisecond
	p, err := never.StartCmd(ctx, &proc.Cmd{WaitDelay: delay}, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	cancel()
	s, err := p.Wait(within(t))
	var e *proc.ExitError
	if !errors.As(err, &e) || s.Signal() != syscall.SIGKILL || e.Cause != context.Canceled || time.Since(begin) < delay {
		t.Errorf("after %v: %v, %v", time.Since(begin), s, err)
	}
	// Somebody else's SIGTERM is an ordinary one.
	p = started(t, never, nil, struct{}{})
	syscall.Kill(p.Pid(), syscall.SIGTERM)
	if s, _ := p.Wait(within(t)); s == nil || s.Signal() != syscall.SIGTERM {
		t.Errorf("by somebody else: %v", s)
	}
	// Nothing that was held back outlives the process.
	p = started(t, never, nil, struct{}{})
	p.Terminate()
	p.Kill()
	p.Wait(within(t))
	noChildren(t)
}

// TestContextEndsAmidStart ends Start's context at any moment of the start: there
// is no process then, or one that is told to end in the usual way.
func TestContextEndsAmidStart(t *testing.T) {
	for i := range rounds(100, 20) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i%20)*200*time.Microsecond, cancel)
		p, err := idle.Start(ctx, struct{}{})
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Start: %v", err)
			}
			continue
		}
		if s, err := p.Wait(within(t)); err != nil {
			t.Errorf("a function that obeys: %v, %v", s, err)
		}
	}
	noChildren(t)
}
