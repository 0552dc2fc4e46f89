package fuzz_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unsafe"

	"github.com/rawipc/rawipc/fuzz"
	"golang.org/x/sys/unix"
)

// childEnv says what this process is to do as a test of its own.
const childEnv = "RAWIPC_FUZZ_TEST"

// again runs one test in a process of its own.
func again(t *testing.T, test string, env ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+test+"$", "-test.v")
	if dir := os.Getenv("GOCOVERDIR"); dir != "" && testing.CoverMode() != "" {
		cmd.Args = append(cmd.Args, "-test.gocoverdir="+dir) // it counts, too
	}
	cmd.Env = append(os.Environ(), childEnv+"="+test)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func isChild(t *testing.T) bool { return os.Getenv(childEnv) == t.Name() }

func TestMainFailsOnLeaks(t *testing.T) {
	if isChild(t) {
		fuzz.LeakPatience(100 * time.Millisecond)
		if _, err := unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		return
	}
	out, err := again(t, t.Name())
	if err == nil || !strings.Contains(out, "--- PASS") || !strings.Contains(out, "left behind:\n\tdescriptor") {
		t.Errorf("got %v and %s\nwant a passed test, and a failure that names the descriptor", err, out)
	}
}

func TestWithout(t *testing.T) {
	probe := func(nr uintptr) error {
		_, _, errno := unix.Syscall6(nr, 0, 0, 1<<20, 0, 0, 0)
		return errno
	}
	if isChild(t) {
		want := unix.Errno(unix.ENOSYS)
		if os.Getenv("WANT") == "EPERM" {
			want = unix.EPERM
		}
		done := make(chan error)
		for range 4 { // on whichever thread
			go func() { done <- probe(unix.SYS_FUTEX_WAITV) }()
		}
		for range 4 {
			if err := <-done; !errors.Is(err, want) {
				t.Errorf("futex_waitv: %v, want %v", err, want)
			}
		}
		if !fuzz.Without("futex_waitv") || fuzz.Without("pidfd_open") {
			t.Error("Without doesn't know")
		}
		if os.Getenv("DEPTH") == "" { // its children are bound too, whatever they are told
			if out, err := again(t, t.Name(), "DEPTH=1"); err != nil {
				t.Errorf("in a child: %v\n%s", err, out)
			}
		}
		return
	}
	if fuzz.Without("futex_waitv") {
		t.Skip("without futex_waitv already")
	}
	if err := probe(unix.SYS_FUTEX_WAITV); err == unix.ENOSYS {
		t.Skip("this kernel has no futex_waitv")
	}
	for _, env := range [][]string{
		{"RAWIPC_WITHOUT=futex_waitv"},
		{"RAWIPC_WITHOUT=splice,futex_waitv:EPERM", "WANT=EPERM"},
	} {
		if out, err := again(t, t.Name(), env...); err != nil || !strings.Contains(out, "--- PASS") {
			t.Errorf("%v: %v\n%s", env, err, out)
		}
	}
}

func TestWithoutPidfd(t *testing.T) {
	if isChild(t) {
		if _, err := unix.PidfdOpen(os.Getpid(), 0); err != unix.ENOSYS {
			t.Errorf("pidfd_open: %v, want ENOSYS", err)
		}
		if err := unix.Waitid(unix.P_PIDFD, 0, nil, unix.WEXITED, nil); err != unix.EINVAL {
			t.Errorf("waitid of a pidfd: %v, want EINVAL", err)
		}
		if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG, nil); err != unix.ECHILD {
			t.Errorf("waitid of any child: %v, want ECHILD", err)
		}
		cmd := exec.Command("true")
		must(t, cmd.Start())
		if err := cmd.Process.WithHandle(func(uintptr) {}); !errors.Is(err, os.ErrNoHandle) {
			t.Errorf("os has a pidfd: %v", err)
		}
		must(t, cmd.Wait())
		fd := -1
		cmd = exec.Command("true")
		cmd.SysProcAttr = &unix.SysProcAttr{PidFD: &fd}
		if err := cmd.Start(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("clone with CLONE_PIDFD: %v, want EINVAL", err)
		}
		return
	}
	if out, err := again(t, t.Name(), "RAWIPC_WITHOUT=pidfd"); err != nil || !strings.Contains(out, "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestWithoutRefusesNonsense(t *testing.T) {
	for value, want := range map[string]string{
		"teleport":          `"teleport" can't be withheld; want one of memfd_noexec ofd_lock`,
		"futex_waitv:EVERY": `no error is called "EVERY"`,
	} {
		out, err := again(t, "TestWithoutPidfd", "RAWIPC_WITHOUT="+value)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %s\nwant %s", value, err, out, want)
		}
	}
}

// Without knows what it can be asked for, and its doc names all of that.
func TestWithoutNames(t *testing.T) {
	said := func() (r any) {
		defer func() { r = recover() }()
		fuzz.Without("futx_waitv")
		return nil
	}()
	_, list, ok := strings.Cut(fmt.Sprint(said), `Without("futx_waitv"): want one of `)
	if !ok {
		t.Fatalf("Without of what is none says %v", said)
	}
	src, err := os.ReadFile("without.go")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ := strings.Cut(string(src), "// Without reports")
	doc, _, _ = strings.Cut(doc, "func Without(")
	words := strings.FieldsFunc(doc, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for _, name := range strings.Fields(list) {
		if !slices.Contains(words, name) {
			t.Errorf("the doc of Without does not name %s", name)
		}
	}
}

// Tool skips, save where CI promises that the tool is there.
func TestTool(t *testing.T) {
	const missing = "rawipc-no-such-tool"
	if isChild(t) {
		fuzz.Tool(t, os.Getenv("TOOL"))
		return
	}
	out, err := again(t, t.Name(), "TOOL="+missing, "CI=true")
	if err == nil || !strings.Contains(out, "which CI promises") {
		t.Errorf("in CI: %v\n%s\nwant a failure", err, out)
	}
	for _, name := range []string{missing, "ptrace", "namespaces", "gcc", "python3"} {
		out, err := again(t, t.Name(), "TOOL="+name, "CI=")
		skipped := strings.Contains(out, "--- SKIP")
		if err != nil || skipped == strings.Contains(out, "--- PASS") || !skipped && name == missing {
			t.Errorf("%s: %v\n%s\nwant it to pass or be skipped", name, err, out)
		}
	}
}

// mqOpen creates a POSIX queue; the kernel wants its name without the slash.
func mqOpen(name string) (fd int, err error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	r, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600, 0, 0, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("mq_open", errno)
	}
	return int(r), nil
}

func mqUnlink(name string) {
	p, _ := unix.BytePtrFromString(name)
	unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(p)), 0, 0)
}
