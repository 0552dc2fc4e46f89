package proc_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
)

// Every system call that Start and its kin make on the caller's thread fails:
// the error says which and why, no child, descriptor or mapping is left behind,
// and the next try works.
func TestErrnos(t *testing.T) {
	errnos := []syscall.Errno{unix.EINTR, unix.EXFULL, unix.EMFILE}
	if testing.Short() {
		errnos = errnos[1:2]
	}
	ctx := t.Context()
	start := func() (waited, error) { p, err := nothing.Start(ctx, struct{}{}); return waited{p}, err }
	rows := []struct {
		name string
		fuzz.Round
	}{
		{"Start", fuzz.Making(start, nil)},
		{"Wait", fuzz.Using(start, func(e waited) error { _, err := e.p.Wait(ctx); return err }, nil)},
		{"Signal", fuzz.Using(start, func(e waited) error {
			err := e.p.Signal(unix.SIGCONT)
			if errors.Is(err, os.ErrProcessDone) {
				err = nil
			}
			return err
		}, nil)},
		{"OpenPidFD", fuzz.Making(func() (*proc.PidFD, error) { return proc.OpenPidFD(os.Getpid()) }, nil)},
	}
	sites, rounds := 0, 0
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if r.name == "OpenPidFD" && fuzz.Without("pidfd_open") {
				t.Skip("without pidfd_open")
			}
			rep := fuzz.FailEach(t, &fuzz.Faults{
				Errnos: errnos,
				// What the poller did not take: package os keeps the errno to itself.
				Also: []error{os.ErrNoDeadline},
			}, r.Round)
			t.Logf("%d system calls, %d rounds, %d without an error", rep.Sites, rep.Rounds, rep.Tolerated)
			sites += rep.Sites
			rounds += rep.Rounds
		})
	}
	t.Logf("%d sites, %d calls refused", sites, rounds)
}

// waited is a child that is waited for when it is closed.
type waited struct{ p *proc.Process }

func (e waited) Close() error {
	_, err := e.p.Wait(context.Background())
	return err
}
