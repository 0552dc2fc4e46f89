package mq_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// nobody is a user who owns nothing.
const nobody = 65534

// may is what a stranger is allowed to do with queues in a namespace of ours.
var may = proc.Register("mq-modes", func(context.Context, string) error {
	var errs []error
	modes := map[string]fs.FileMode{"/private": 0, "/read": 0o604, "/write": 0o602, "/all": 0o606}
	old := unix.Umask(0)
	defer unix.Umask(old)
	for name, mode := range modes {
		q, err := mq.Create(name, &mq.Attr{MaxMessages: 1, MessageSize: 8, Mode: mode})
		if err != nil {
			return err
		}
		defer q.Close()
		var st unix.Stat_t
		if err := unix.Fstat(descriptor(q), &st); err != nil || mode != 0 && st.Mode&0o777 != uint32(mode) || mode == 0 && st.Mode&0o777 != 0o600 {
			errs = append(errs, fmt.Errorf("%s: mode %#o, %v", name, st.Mode, err))
		}
	}
	unix.Umask(0o077)
	if q, err := mq.Create("/umask", &mq.Attr{MaxMessages: 1, MessageSize: 8, Mode: 0o666}); err != nil {
		errs = append(errs, err)
	} else {
		q.Close()
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, 0), syscall.Setresuid(nobody, nobody, 0)); err != nil {
		return err
	}
	for _, c := range []struct {
		name        string
		read, write bool
	}{{"/private", false, false}, {"/read", true, false}, {"/write", false, true}, {"/all", true, true}, {"/umask", false, false}} {
		for mode, allowed := range map[int]bool{os.O_RDONLY: c.read, os.O_WRONLY: c.write, os.O_RDWR: c.read && c.write} {
			q, err := mq.Open(c.name, mode)
			if err == nil {
				q.Close()
			}
			if allowed && err != nil || !allowed && !errors.Is(err, fs.ErrPermission) {
				errs = append(errs, fmt.Errorf("open %s for %d: %v", c.name, mode, err))
			}
		}
		errs = append(errs, wants(mq.Unlink(c.name), fs.ErrPermission), wants(create(c.name, 1, 8), fs.ErrExist))
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return err
	}
	for name := range modes {
		errs = append(errs, mq.Unlink(name))
	}
	return errors.Join(append(errs, mq.Unlink("/umask"))...)
})

func descriptor(q *mq.Queue) (n int) {
	rc, err := q.SyscallConn()
	if err != nil {
		return -1
	}
	_ = rc.Control(func(fd uintptr) { n = int(fd) })
	return n
}

// The mode of a queue, less the umask, says who may open it, and how; only its
// owner may unlink it.
func TestCase193_Modes(t *testing.T) { inChild(t, may, "", ownQueues(t)) }
