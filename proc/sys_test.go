package proc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

var where = proc.Register("where", func(context.Context, struct{}) error {
	b, err := os.ReadFile("/proc/self/cgroup")
	fmt.Printf("%s", b)
	return err
})

// TestCase233_Sys: what the kernel refuses of Cmd.Sys comes back as its error,
// and what it takes has effect. Sizes, exit signals and chosen pids, which the
// case has, can't be said in a SysProcAttr.
func TestCase233_Sys(t *testing.T) {
	before := len(descriptors(t))
	for _, tt := range []struct {
		sys  syscall.SysProcAttr
		want error
	}{
		{syscall.SysProcAttr{Cloneflags: unix.CLONE_THREAD}, syscall.EINVAL},
		{syscall.SysProcAttr{Cloneflags: unix.CLONE_THREAD, UidMappings: []syscall.SysProcIDMap{{Size: 1}}}, syscall.EINVAL},
		{syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: 1 << 20}, syscall.EBADF},
		{syscall.SysProcAttr{Setctty: true, Setsid: true, Ctty: 0}, syscall.ENOTTY},
	} {
		if fuzz.Without("clone3") && tt.sys.UseCgroupFD {
			tt.want = syscall.ENOSYS
		}
		p, err := nothing.StartCmd(within(t), &proc.Cmd{Sys: &tt.sys}, struct{}{})
		if fuzz.Without("clone3") && errors.Is(err, syscall.EPERM) {
			tt.want = syscall.EPERM
		}
		if p != nil || !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v, %v, want %v", tt.sys, p, err, tt.want)
		}
	}
	if os.Geteuid() == 0 {
		_, err := started(t, isolated, &proc.Cmd{Sys: nobody()}, struct{}{}).Wait(within(t))
		if err != nil {
			t.Error(err)
		}
	}
	if after := len(descriptors(t)); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	noChildren(t)
	if fuzz.Without("clone3") {
		return
	}
	path, dir := newCgroup(t)
	r, w := oneWay(t)
	p := started(t, where, &proc.Cmd{Stdout: w, Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}}, struct{}{})
	w.Close()
	b, _ := io.ReadAll(r)
	if _, err := p.Wait(within(t)); err != nil || !bytes.Contains(b, []byte(filepath.Base(path))) {
		t.Errorf("in the cgroup %s: %q, %v", path, b, err)
	}
}

// isolated asks for what it has no right to.
var isolated = proc.Register("isolated", func(ctx context.Context, _ struct{}) error {
	_, err := nothing.StartCmd(ctx, &proc.Cmd{Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}}, struct{}{})
	if !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("a network namespace: %v", err)
	}
	return nil
})
