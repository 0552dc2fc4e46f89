package proc_test

import (
	"context"
	"flag"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
)

// noDispatch makes TestMain forget proc.Dispatch, as a careless program would.
const noDispatch = "PROC_TEST_NO_DISPATCH"

func TestMain(m *testing.M) {
	switch os.Getenv(noDispatch) {
	case "exit":
		os.Exit(0)
	case "hang":
		time.Sleep(time.Minute)
	case "heir": // leaves all its descriptors to a process that ends with stdin
		attr := &syscall.ProcAttr{Files: []uintptr{0, 1, 2, 3, 4, 5}, Env: []string{noDispatch + "=stay"}}
		if _, err := syscall.ForkExec("/proc/self/exe", os.Args, attr); err != nil {
			panic(err)
		}
		os.Exit(0)
	case "stay":
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "deleted", "replaced":
		exe, err := os.Executable()
		if err == nil {
			how := os.Getenv(noDispatch)
			os.Unsetenv(noDispatch)
			err = withoutBinary(exe, how)
		}
		if err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	case "inherits":
		if err := listInherited(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	case "thread":
		// Dispatch, and so exec, in another thread than the main one.
		runtime.LockOSThread()
		go func() {
			runtime.LockOSThread()
			os.Unsetenv(noDispatch)
			proc.Dispatch()
		}()
		select {}
	case "init":
		os.Stderr.WriteString(early.Error() + "\n")
		os.Exit(7)
	case "killed":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "soft", "soft-aided":
		// As after "ulimit -S -n" in a shell; the limit is this process's start's.
		if err := reportSoft(os.Getenv(noDispatch) == "soft-aided"); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	case "bomb":
		// A program that starts children before Dispatch must not fork for ever.
		if _, err := nothing.Start(context.Background(), struct{}{}); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(7)
		}
		os.Exit(0)
	}
	fuzz.Main(m)
}

var long = flag.Bool("long", false, "also run the forms of the tests that take minutes")

// rounds is how often a test repeats itself: fewer times with -short.
func rounds(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}

// bound is the time after which a test that waits is stuck.
const bound = 20 * time.Second

// within returns a context that ends if the test hangs.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)
	return ctx
}

// started starts f under a background context, and kills the child at the end of
// the test if it is still there.
func started[A any](t testing.TB, f *proc.Func[A], cmd *proc.Cmd, a A) *proc.Process {
	t.Helper()
	p, err := f.StartCmd(context.Background(), cmd, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
		p.Release()
	})
	return p
}

// oneWay returns a pipe; both ends are closed at the end of the test.
func oneWay(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	r.SetReadDeadline(time.Now().Add(bound))
	return r, w
}

// descriptors returns what is open here: number to target.
func descriptors(t testing.TB) map[int]string {
	t.Helper()
	m, err := openFiles()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func openFiles() (map[int]string, error) {
	const dir = "/proc/self/fd"
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	m := make(map[int]string)
	for _, name := range names {
		target, err := os.Readlink(dir + "/" + name)
		if err != nil || target == "/proc/"+strconv.Itoa(os.Getpid())+"/fd" {
			continue // the descriptor that reads the directory
		}
		fd, _ := strconv.Atoi(name)
		m[fd] = target
	}
	return m, nil
}

// noChildren fails the test if this process has a child, dead or alive.
func noChildren(t testing.TB) {
	t.Helper()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if err != syscall.ECHILD {
		t.Errorf("a child is left: wait4 returned %d, %v", pid, err)
	}
}
