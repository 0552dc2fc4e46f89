package pool_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/fuzz"
)

// Every system call that making a worker takes fails: the error says which and
// why, nothing of the worker is left, the pool serves, and the next try works.
func TestErrnos(t *testing.T) {
	errnos := []syscall.Errno{unix.EINTR, unix.ENOMEM, unix.EMFILE, unix.EPERM, unix.EXFULL}
	if testing.Short() {
		errnos = errnos[2:3]
	}
	p := newPool(t, 1)
	serves := func() error {
		n, err := double.Call(within(t), p, 21)
		if err == nil && n != 42 {
			err = errors.New("it can't double")
		}
		return err
	}
	if err := serves(); err != nil { // the rings and the poller are there from now on
		t.Fatal(err)
	}
	rep := fuzz.FailEach(t, &fuzz.Faults{Errnos: errnos, Also: []error{os.ErrNoDeadline},
		// A wake and an unmapping of what is there never fail.
		Spare: []string{"futex", "munmap"}}, func(fail func(func() error) error) error {
		if fail(p.StartAndBury) != nil {
			if err := p.StartAndBury(); err != nil {
				return err
			}
		}
		return serves()
	})
	t.Logf("%d sites, %d calls refused", rep.Sites, rep.Rounds)

}
