package fuzz

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Apart is what a test has of the machine for itself: see [Apart.Run]. The zero
// value is a process of its own.
type Apart struct {
	// Memory is the size in bytes of a /dev/shm of its own, empty at first. 0
	// leaves it the machine's.
	Memory int64

	// IPC gives it POSIX message queues of its own, with the limits in
	// /proc/sys/fs/mqueue that a machine starts with, and a /dev/mqueue where
	// there is that directory.
	IPC bool

	// PID gives it process numbers of its own, /proc included.
	PID bool

	// Clock is by how much CLOCK_MONOTONIC and CLOCK_BOOTTIME are ahead of the
	// machine's, in whole seconds. 0 leaves them.
	Clock time.Duration
}

// apartEnv names the test that its process is there for.
const apartEnv = "RAWIPC_APART"

// Run runs the rest of a test in another process of this program, which has what
// a says for itself, and fails t with what it printed if it fails there:
//
//	func TestFullMemory(t *testing.T) {
//		fuzz.Apart{Memory: 64 << 10}.Run(t, func(t *testing.T) { … })
//	}
//
// That process runs t from its beginning to its end, so that what stands before and
// after Run in it is done there too. TestMain should be [Main]: then it looks for what test
// left behind. Run blocks until that process has ended; it ends with t. The
// test is skipped where such things may not be made ([Tool]), or if test is.
// Tests may call it concurrently.
func (a Apart) Run(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if a.Memory < 0 {
		t.Fatalf("fuzz: Apart: Memory is %d, want a size in bytes, or 0", a.Memory)
	}
	if os.Getenv(apartEnv) == t.Name() {
		if err := a.move(); err != nil {
			t.Fatalf("fuzz: Apart: %v", err)
		}
		test(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Each part of the name is a pattern of its own.
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	args := []string{exe, "-test.v", "-test.run=" + strings.Join(parts, "/")}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" && testing.CoverMode() != "" {
		args = append(args, "-test.gocoverdir="+dir) // it counts, too
	}
	if a.Clock != 0 {
		args = append(ahead(t, a.Clock), args...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), apartEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: a.flags(), Pdeathsig: unix.SIGKILL}
	if a.flags() != 0 {
		Tool(t, "namespaces")
	}
	out, err := cmd.CombinedOutput()
	switch text := string(out); {
	case err != nil:
		t.Fatalf("apart: %v\n%s", err, text)
	case strings.Contains(text, "--- SKIP: "+t.Name()+" "):
		t.Skipf("apart: %s", text)
	case !strings.Contains(text, "--- PASS: "+t.Name()+" "):
		t.Fatalf("apart: the test did not run:\n%s", text)
	}
}

func (a Apart) flags() uintptr {
	flags := uintptr(0)
	if a.Memory > 0 || a.IPC || a.PID {
		flags = unix.CLONE_NEWNS
	}
	if a.IPC {
		flags |= unix.CLONE_NEWIPC
	}
	if a.PID {
		flags |= unix.CLONE_NEWPID
	}
	return flags
}

// move mounts what belongs to the new namespaces, in them.
func (a Apart) move() error {
	if a.flags() == 0 {
		return nil
	}
	// What is mounted from now on, nobody else sees.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	mount := func(what, where, options string) error {
		if err := unix.Mount(what, where, what, 0, options); err != nil {
			return &os.PathError{Op: "mount", Path: where, Err: err}
		}
		return nil
	}
	if a.PID {
		if err := mount("proc", "/proc", ""); err != nil {
			return err
		}
	}
	if a.IPC {
		if err := mount("mqueue", "/dev/mqueue", ""); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if a.Memory > 0 {
		return mount("tmpfs", "/dev/shm", fmt.Sprintf("size=%d", a.Memory))
	}
	return nil
}

// ahead is a command that runs another by a clock that is ahead. Only the first
// thread of a process can say by how much, and not for itself: unshare(1) does.
func ahead(t *testing.T, by time.Duration) []string {
	t.Helper()
	seconds := fmt.Sprint(int64(by / time.Second))
	cmd := []string{Tool(t, "unshare"), "--time", "--monotonic", seconds, "--boottime", seconds, "--fork", "--kill-child"}
	if out, err := exec.Command(cmd[0], append(cmd[1:], "true")...).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs time namespaces, which CI promises to have: %v: %s", err, out)
		}
		t.Skipf("needs time namespaces: %v: %s", err, out)
	}
	return cmd
}
