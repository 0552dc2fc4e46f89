package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/proc"
)

var autoReaped = proc.Register("auto-reaped", func(ctx context.Context, refuse string) error {
	if refuse != "" {
		proc.RefusePidfd(refuse)
	}
	signal.Ignore(syscall.SIGCHLD)
	p, err := nothing.Start(ctx, struct{}{})
	if err != nil {
		return err
	}
	s, err := p.Wait(ctx)
	if s != nil || !errors.Is(err, syscall.ECHILD) {
		return fmt.Errorf("Wait: %v, %v, want ECHILD", s, err)
	}
	if err := p.Kill(); err != os.ErrProcessDone {
		return fmt.Errorf("Kill: %v", err)
	}
	return nil
})

func TestLostStatus(t *testing.T) {
	for _, refuse := range []string{"", "clone", "wait"} {
		t.Run("refuse="+refuse, func(t *testing.T) {
			if _, err := started(t, autoReaped, nil, refuse).Wait(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOtherChildren runs children of os/exec at the same time: nobody may take
// the status of another's child.
func TestOtherChildren(t *testing.T) {
	done := make(chan error, 1)
	go func() {
		for range 30 {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), noDispatch+"=exit")
			if err := cmd.Run(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range 30 {
		if s, err := started(t, exit, nil, i).Wait(within(t)); s == nil || s.ExitCode() != i {
			t.Errorf("child %d: %v, %v", i, s, err)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("os/exec: %v", err)
	}
}

func TestCase234_WithoutPidfd(t *testing.T) {
	for _, calls := range [][]string{{"clone"}, {"wait"}, {"signal"}, {"wait", "signal"}} {
		t.Run(strings.Join(calls, "+"), func(t *testing.T) {
			for _, call := range calls {
				defer proc.RefusePidfd(call)()
			}
			t.Run("Ends", TestCase215_Ends)
			t.Run("Terminate", TestCase230_TerminateAndKill)
			t.Run("Context", TestContextEndsProcess)
			t.Run("Races", TestCase221_Races)
			t.Run("Many", TestCase216_WaitFromMany)
			t.Run("Stopped", TestCase238_StoppedChild)
			t.Run("Left", func(t *testing.T) { leavesNothing(t, rounds(30, 5)) })
			if calls[0] == "clone" {
				p := started(t, nothing, nil, struct{}{})
				if _, err := p.SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("SyscallConn: %v", err)
				}
			}
		})
	}
}
