package mq_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// ownQueues is for a child with its own queues, limits and mounts.
func ownQueues(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	fuzz.Tool(t, "namespaces")
	return &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWIPC}
}

var lists = proc.Register("mq-lists", func(context.Context, string) error {
	// A /dev that nobody else sees.
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", 0, "size=64k"); err != nil {
		return os.NewSyscallError("mount", err)
	}
	var errs []error
	missing := func(what string) {
		names, err := mq.List()
		if names != nil || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "mount -t mqueue none /dev/mqueue") {
			errs = append(errs, fmt.Errorf("%s: %q, %v", what, names, err))
		}
	}
	has := func(what string, want ...string) {
		if names, err := mq.List(); err != nil || !slices.Equal(names, want) {
			errs = append(errs, fmt.Errorf("%s: %q, %v, want %q", what, names, err, want))
		}
	}
	missing("no directory")
	if err := os.Mkdir("/dev/mqueue", 0o755); err != nil {
		return err
	}
	missing("not mounted")
	if err := unix.Mount("none", "/dev/mqueue", "mqueue", 0, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	has("no queues")
	for _, name := range []string{"/b", "/a", "/with space"} {
		q, err := mq.Create(name, small(1))
		if err != nil {
			return err
		}
		defer q.Close()
	}
	has("three queues", "/a", "/b", "/with space")
	errs = append(errs, mq.Unlink("/b")) // open, but without a name
	has("unlinked", "/a", "/with space")
	errs = append(errs, mq.Unlink("/a"), mq.Unlink("/with space"))
	has("all unlinked")
	return errors.Join(errs...)
})

func TestList(t *testing.T) { inChild(t, lists, "", ownQueues(t)) }

// The example has no checked output: whether queues can be listed, and which
// there are, is up to the machine.
func ExampleList() {
	names, err := mq.List()
	if err != nil {
		fmt.Println(err) // says how to mount /dev/mqueue
		return
	}
	for _, name := range names {
		fmt.Println(name)
	}
}
