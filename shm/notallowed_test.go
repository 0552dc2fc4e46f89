package shm_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

var notAllowed = proc.Register("shm-not-allowed", func(context.Context, string) error {
	if err := mountSmall("size=64k,mode=755"); err != nil {
		return err
	}
	if err := os.WriteFile("/dev/shm/there", []byte("content"), 0o644); err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, 0), syscall.Setresuid(nobody, nobody, 0)); err != nil {
		return err
	}
	attr := &shm.Attr{Truncate: true, Owners: []int{0}}
	errs := []error{
		wants(second(shm.Create("new", 1, nil)), fs.ErrPermission, unix.EACCES),
		wants(second(shm.Create("there", 1, nil)), fs.ErrExist),
		wants(second(shm.Create("there", 1, attr)), fs.ErrPermission),
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return err
	}
	if list, err := files(); err != nil || list != "[- there]" {
		errs = append(errs, errorf("there are %s, %v", list, err))
	}
	if b, err := os.ReadFile("/dev/shm/there"); err != nil || string(b) != "content" {
		errs = append(errs, errorf("%q, %v", b, err))
	}
	return errors.Join(errs...)
})

// Who may not write to the directory creates nothing, and empties nothing that
// is another's.
func TestNotAllowedToCreate(t *testing.T) { inChild(t, notAllowed, "", ownMount(t)) }
