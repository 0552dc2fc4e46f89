package mq_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/proc"
)

var long = flag.Bool("long", false, "also run the forms of the tests that take minutes")

// times is how often a test goes round: seldom in -short, often in -long.
func times(short, usual, many int) int {
	switch {
	case testing.Short():
		return short
	case *long:
		return many
	}
	return usual
}

// start starts a child, which is killed at the end of the test at the latest.
func start[A any](t testing.TB, f *proc.Func[A], cmd *proc.Cmd, arg A) *proc.Process {
	t.Helper()
	p, err := f.StartCmd(bg, cmd, arg)
	must(t, err)
	t.Cleanup(func() { p.Kill(); p.Wait(bg) })
	return p
}

func ends(t testing.TB, p *proc.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, hang)
	defer cancel()
	_, err := p.Wait(ctx)
	must(t, err)
}

func inChild[A any](t testing.TB, f *proc.Func[A], arg A, sys *syscall.SysProcAttr) {
	t.Helper()
	ends(t, start(t, f, &proc.Cmd{Sys: sys}, arg))
}

// wants is wantErr for children.
func wants(got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("error %v, want %v", got, want)
	}
	return nil
}
