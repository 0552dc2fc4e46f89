package fuzz

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Tool returns the path of a program that a test can do without, such as
// "gcc", "python3" or "strace". Where it is missing the test is skipped with the reason;
// but with CI=true in the environment, which promises that everything is
// there, the test fails.
//
// Three names are rights rather than programs, and have no path: "ptrace" is to
// trace a child, "seccomp" to answer for a thread's system calls, "namespaces"
// to make mount, IPC and PID namespaces.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if errName, _ := withoutAs("clone3"); errName == "EPERM" && (name == "gcc" || name == "python3") {
		t.Skip("this run has EPERM for clone3: C's library starts no thread then")
	}
	if name == "namespaces" && Without("unshare") {
		t.Skip("this run is without namespaces")
	}
	path, err := tool(name)
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("needs %s, which CI promises to have: %v", name, err)
	default:
		t.Skipf("needs %s: %v", name, err)
	}
	return path
}

func tool(name string) (path string, err error) {
	switch name {
	case "ptrace":
		return "", canTrace()
	case "seccomp":
		return "", canListen()
	case "namespaces":
		const flags = unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID
		return "", child(&syscall.SysProcAttr{Cloneflags: flags}).Run()
	}
	path, err = exec.LookPath(name)
	if err == nil {
		// A shim of a version manager can be there without the program.
		err = exec.Command(path, "--version").Run()
	}
	return path, err
}

// child is a child of this program that ends at once: it lists no tests.
func child(attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = attr
	return cmd
}

// canTrace starts a child that is traced from its exec on, and ends it there.
func canTrace() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := child(&syscall.SysProcAttr{Ptrace: true})
	if err := cmd.Start(); err != nil {
		return err
	}
	cmd.Process.Kill()
	if err := cmd.Wait(); err != nil && !strings.Contains(err.Error(), "signal") {
		return err
	}
	return nil
}
