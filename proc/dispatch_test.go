package proc_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
)

func TestWithoutDispatch(t *testing.T) {
	start := func(ctx context.Context, how string, stderr *os.File) error {
		t.Helper()
		p, err := nothing.StartCmd(ctx, &proc.Cmd{Env: []string{noDispatch + "=" + how}, Stderr: stderr}, struct{}{})
		if err == nil {
			p.Kill()
			t.Fatal("a child that never dispatches was started")
		}
		return err
	}
	before := descriptors(t)
	if err := start(within(t), "exit", nil); !errors.Is(err, proc.ErrNoDispatch) || !strings.Contains(err.Error(), "exit status 0") {
		t.Errorf("main returns: %v", err)
	}
	var e *proc.ExitError
	if err := start(within(t), "killed", nil); !errors.As(err, &e) || e.State.Signal() != syscall.SIGKILL || errors.Is(err, proc.ErrNoDispatch) {
		t.Errorf("killed before Dispatch: %v", err)
	}

	// The child ends, but another process still has its end of the hello.
	in, hold := oneWay(t)
	out, held := oneWay(t)
	p, err := nothing.StartCmd(within(t), &proc.Cmd{Env: []string{noDispatch + "=heir"}, Stdin: in, Stdout: held}, struct{}{})
	if p != nil || !errors.Is(err, proc.ErrNoDispatch) {
		t.Errorf("with an heir: %v, %v", p, err)
	}
	held.Close()
	hold.Close()
	if _, err := io.ReadAll(out); err != nil {
		t.Errorf("the heir lives on: %v", err)
	}
	in.Close()
	out.Close()

	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := start(short, "hang", nil); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "proc.Dispatch") {
		t.Errorf("main goes on for ever: %v", err)
	}
	noChildren(t)
	if after := descriptors(t); !reflect.DeepEqual(after, before) {
		t.Errorf("descriptors before: %v\nafter: %v", before, after)
	}
}

func TestCase236_NoForkBomb(t *testing.T) {
	r, w := oneWay(t)
	_, err := nothing.StartCmd(within(t), &proc.Cmd{Env: []string{noDispatch + "=bomb"}, Stderr: w}, struct{}{})
	w.Close()
	if !errors.Is(err, proc.ErrNoDispatch) || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("Start: %v", err)
	}
	b, _ := io.ReadAll(r)
	if !strings.Contains(string(b), "this is itself a child") {
		t.Errorf("the child wrote %q", b)
	}
	noChildren(t)
	// And in a process that nobody started for a function.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{noDispatch + "=bomb"}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 7 || !strings.Contains(string(out), "call proc.Dispatch first") {
		t.Errorf("Start before Dispatch: %v, %q", err, out)
	}
}

func TestStrayMark(t *testing.T) {
	for mark, want := range map[string]string{
		"":      "malformed environment variable",
		"2:3":   "malformed environment variable",
		"1:2":   "malformed environment variable",
		"1:03":  "malformed environment variable",
		"1:x":   "malformed environment variable",
		"1:3":   "descriptor 3 is not a request",
		"1:999": "descriptor 3 is not a request",
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{proc.EnvMark + "=" + mark}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.HasPrefix(string(out), "proc: "+want) {
			t.Errorf("%q: %v, %q, want %q", mark, err, out, want)
		}
	}
}
