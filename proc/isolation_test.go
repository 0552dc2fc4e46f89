package proc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// family is what a child needs that makes a grandchild.
type family struct {
	Out    *os.File
	In     *os.File
	Detach bool
}

// member says that it lives, then copies In to Out until In ends. It does not
// care for SIGTERM.
var member = proc.Register("member", func(_ context.Context, f family) error {
	if _, err := f.Out.WriteString("up\n"); err != nil {
		return err
	}
	_, err := io.Copy(f.Out, f.In)
	return err
})

// head starts a member and waits for ever.
var head = proc.Register("head", func(_ context.Context, f family) error {
	p, err := member.StartCmd(context.Background(), &proc.Cmd{Detach: f.Detach}, f)
	if err != nil {
		return err
	}
	f.Out.Close()
	f.In.Close()
	_, err = p.Wait(context.Background())
	return err
})

// killedParent starts a child that has a child, and kills the first one.
func killedParent(t *testing.T, detach bool) (out *bufio.Reader, in *os.File) {
	r, w := oneWay(t)
	inr, inw := oneWay(t)
	p := started(t, head, nil, family{w, inr, detach})
	w.Close()
	inr.Close()
	out = bufio.NewReader(r)
	if line, err := out.ReadString('\n'); err != nil {
		p.Kill()
		_, werr := p.Wait(within(t))
		t.Fatalf("no word from the grandchild: %q, %v, %v", line, err, werr)
	}
	p.Kill()
	if s, err := p.Wait(within(t)); s.Signal() != syscall.SIGKILL {
		t.Fatalf("the child: %v, %v", s, err)
	}
	return out, inw
}

func TestDiesWithParent(t *testing.T) {
	for range 10 {
		out, _ := killedParent(t, false)
		if b, err := io.ReadAll(out); err != nil {
			t.Fatalf("the grandchild outlived its parent: %q, %v", b, err)
		}
	}
}

func TestDetach(t *testing.T) {
	out, in := killedParent(t, true)
	if _, err := in.WriteString("still there?\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); line != "still there?\n" {
		t.Errorf("from a detached grandchild: %q, %v", line, err)
	}
	in.Close() // and so it ends
	if _, err := io.ReadAll(out); err != nil {
		t.Error(err)
	}
}

// TestStarterEnds lets the goroutine and the thread end that asked for a child:
// the kernel's "parent died" must not come from there.
func TestStarterEnds(t *testing.T) {
	got := make(chan *proc.Process, 1)
	tid := make(chan int)
	var starter func()
	starter = func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		if unix.Gettid() == unix.Getpid() {
			go starter() // the main thread never ends: another one
			<-t.Context().Done()
			return
		}
		p, err := idle.Start(context.Background(), struct{}{})
		if err != nil {
			t.Error(err)
		}
		got <- p
		tid <- unix.Gettid()
	}
	go starter()
	thread := fmt.Sprintf("/proc/self/task/%d", <-tid)
	p := <-got
	if p == nil {
		t.FailNow()
	}
	t.Cleanup(func() { p.Kill(); <-p.Done() })
	for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(thread); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the thread does not end")
		}
	}
	time.Sleep(50 * time.Millisecond)
	p.Terminate()
	if s, err := p.Wait(within(t)); err != nil {
		t.Errorf("the child of a thread that ended: %v, %v", s, err)
	}
}

var cpus = proc.Register("cpus", func(context.Context, struct{}) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return err
	}
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			fmt.Printf("%d ", cpu)
		}
	}
	fmt.Print("of ", runtime.NumCPU())
	return nil
})

func TestCPUs(t *testing.T) {
	all := output(t, cpus, struct{}{})
	list := strings.Fields(all)
	list = list[:len(list)-2]
	for _, name := range list {
		var cpu int
		fmt.Sscan(name, &cpu)
		r, w := oneWay(t)
		p := started(t, cpus, &proc.Cmd{CPUs: []int{cpu}, Stdout: w}, struct{}{})
		w.Close()
		b, _ := io.ReadAll(r)
		if want := fmt.Sprintf("%d of 1", cpu); string(b) != want {
			t.Errorf("the child saw CPUs %q, want %q", b, want)
		}
		p.Wait(within(t))
	}
	if again := output(t, cpus, struct{}{}); again != all {
		t.Errorf("CPUs %q after a child was pinned, %q before", again, all)
	}
}

var listFiles = proc.Register("list files", func(_ context.Context, _ *os.File) error {
	m, err := openFiles()
	if err != nil {
		return err
	}
	for fd, target := range m {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			return err
		}
		switch {
		case fd > 2 && (strings.HasPrefix(target, "anon_inode:[event") || strings.HasPrefix(target, "/sys/fs/cgroup/")):
			continue // the runtime's own
		case strings.HasPrefix(target, "/memfd:proc-report"):
			target = "report"
		}
		if fd > 2 && flags&unix.FD_CLOEXEC == 0 {
			target += " without CLOEXEC"
		}
		fmt.Println(target)
	}
	return nil
})

func TestDescriptors(t *testing.T) {
	for range 100 {
		oneWay(t) // 200 of them
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r, w := oneWay(t)
	p := started(t, listFiles, &proc.Cmd{Stdout: w, Stderr: null}, null)
	w.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i := range got {
		if strings.HasPrefix(got[i], "pipe:") {
			got[i] = "pipe"
		}
	}
	slices.Sort(got)
	want := []string{"/dev/null", "/dev/null", "/dev/null", "pipe", "report", "report"}
	if !slices.Equal(got, want) {
		t.Errorf("the child has %q, want %q", got, want)
	}
}

var environment = proc.Register("environment", func(ctx context.Context, _ struct{}) error {
	return echo(ctx, os.Environ())
})

func TestCase225_Environment(t *testing.T) {
	run := func(env []string) string {
		t.Helper()
		r, w := oneWay(t)
		p := started(t, environment, &proc.Cmd{Stdout: w, Env: env}, struct{}{})
		w.Close()
		b, _ := io.ReadAll(r)
		if _, err := p.Wait(within(t)); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{[]string{}, `[]string{}`},
		{[]string{"A=1", "B=", "C=x=y"}, `[]string{"A=1", "B=", "C=x=y"}`},
		{[]string{"A=1", "B=2", "A=3"}, `[]string{"B=2", "A=3"}`},
		{[]string{proc.EnvMark + "=1:9", "A=1"}, `[]string{"A=1"}`},
		{nil, fmt.Sprintf("%#v", os.Environ())},
	} {
		if got := run(tt.env); got != tt.want {
			t.Errorf("with %q the child saw %s, want %s", tt.env, got, tt.want)
		}
	}
}

func TestWithoutDispatch(t *testing.T) {
	start := func(ctx context.Context, how string, stderr *os.File) error {
		t.Helper()
		p, err := nothing.StartCmd(ctx, &proc.Cmd{Env: []string{noDispatch + "=" + how}, Stderr: stderr}, struct{}{})
		if err == nil {
			p.Kill()
			t.Fatal("a child that never dispatches was started")
		}
		return err
	}
	before := descriptors(t)
	if err := start(within(t), "exit", nil); !errors.Is(err, proc.ErrNoDispatch) || !strings.Contains(err.Error(), "exit status 0") {
		t.Errorf("main returns: %v", err)
	}
	var e *proc.ExitError
	if err := start(within(t), "killed", nil); !errors.As(err, &e) || e.State.Signal() != syscall.SIGKILL || errors.Is(err, proc.ErrNoDispatch) {
		t.Errorf("killed before Dispatch: %v", err)
	}

	// The child ends, but another process still has its end of the hello.
	in, hold := oneWay(t)
	out, held := oneWay(t)
	p, err := nothing.StartCmd(within(t), &proc.Cmd{Env: []string{noDispatch + "=heir"}, Stdin: in, Stdout: held}, struct{}{})
	if p != nil || !errors.Is(err, proc.ErrNoDispatch) {
		t.Errorf("with an heir: %v, %v", p, err)
	}
	held.Close()
	hold.Close()
	if _, err := io.ReadAll(out); err != nil {
		t.Errorf("the heir lives on: %v", err)
	}
	in.Close()
	out.Close()

	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := start(short, "hang", nil); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "proc.Dispatch") {
		t.Errorf("main goes on for ever: %v", err)
	}
	noChildren(t)
	if after := descriptors(t); !reflect.DeepEqual(after, before) {
		t.Errorf("descriptors before: %v\nafter: %v", before, after)
	}
}

func TestCase236_NoForkBomb(t *testing.T) {
	r, w := oneWay(t)
	_, err := nothing.StartCmd(within(t), &proc.Cmd{Env: []string{noDispatch + "=bomb"}, Stderr: w}, struct{}{})
	w.Close()
	if !errors.Is(err, proc.ErrNoDispatch) || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("Start: %v", err)
	}
	b, _ := io.ReadAll(r)
	if !strings.Contains(string(b), "this is itself a child") {
		t.Errorf("the child wrote %q", b)
	}
	noChildren(t)
	// And in a process that nobody started for a function.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{noDispatch + "=bomb"}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 7 || !strings.Contains(string(out), "call proc.Dispatch first") {
		t.Errorf("Start before Dispatch: %v, %q", err, out)
	}
}

func TestStrayMark(t *testing.T) {
	for mark, want := range map[string]string{
		"":      "malformed environment variable",
		"2:3":   "malformed environment variable",
		"1:2":   "malformed environment variable",
		"1:03":  "malformed environment variable",
		"1:x":   "malformed environment variable",
		"1:3":   "descriptor 3 is not a request",
		"1:999": "descriptor 3 is not a request",
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{proc.EnvMark + "=" + mark}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.HasPrefix(string(out), "proc: "+want) {
			t.Errorf("%q: %v, %q, want %q", mark, err, out, want)
		}
	}
}

var closedStdio = proc.Register("closed stdio", func(ctx context.Context, f *os.File) error {
	for fd := range 3 {
		unix.Close(fd)
	}
	p, err := stdioOf.Start(ctx, f)
	if err != nil {
		return err
	}
	if _, err := p.Wait(ctx); err != nil {
		return err
	}
	p, err = stdioOf.StartCmd(ctx, &proc.Cmd{Stdout: f}, f)
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
})

var stdioOf = proc.Register("stdio of", func(_ context.Context, f *os.File) error {
	for fd := range 3 {
		target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return err
		}
		target, _, _ = strings.Cut(target, ":")
		fmt.Fprint(f, target, " ")
	}
	return nil
})

func TestCase223_ClosedStdio(t *testing.T) {
	r, w := oneWay(t)
	p := started(t, closedStdio, nil, w)
	w.Close()
	b, _ := io.ReadAll(r)
	if _, err := p.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	if want := "/dev/null /dev/null /dev/null /dev/null pipe /dev/null "; string(b) != want {
		t.Errorf("stdio of the grandchildren: %q, want %q", b, want)
	}
}

// TestForeignFlags checks that a file keeps its mode: passing must not switch a
// shared open file to blocking.
func TestForeignFlags(t *testing.T) {
	r, w := oneWay(t)
	if _, err := started(t, echoFile, &proc.Cmd{Stdin: r}, w).Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	rc, _ := r.SyscallConn()
	rc.Control(func(fd uintptr) {
		if nb, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || nb&unix.O_NONBLOCK == 0 {
			t.Errorf("the pipe is in blocking mode now: flags %#x, %v", nb, err)
		}
	})
}

var autoReaped = proc.Register("auto-reaped", func(ctx context.Context, refuse string) error {
	if refuse != "" {
		proc.RefusePidfd(refuse)
	}
	signal.Ignore(syscall.SIGCHLD)
	p, err := nothing.Start(ctx, struct{}{})
	if err != nil {
		return err
	}
	s, err := p.Wait(ctx)
	if s != nil || !errors.Is(err, syscall.ECHILD) {
		return fmt.Errorf("Wait: %v, %v, want ECHILD", s, err)
	}
	if err := p.Kill(); err != os.ErrProcessDone {
		return fmt.Errorf("Kill: %v", err)
	}
	return nil
})

func TestLostStatus(t *testing.T) {
	for _, refuse := range []string{"", "clone", "wait"} {
		t.Run("refuse="+refuse, func(t *testing.T) {
			if _, err := started(t, autoReaped, nil, refuse).Wait(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOtherChildren runs children of os/exec at the same time: nobody may take
// the status of another's child.
func TestOtherChildren(t *testing.T) {
	done := make(chan error, 1)
	go func() {
		for range 30 {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), noDispatch+"=exit")
			if err := cmd.Run(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range 30 {
		if s, err := started(t, exit, nil, i).Wait(within(t)); s == nil || s.ExitCode() != i {
			t.Errorf("child %d: %v, %v", i, s, err)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("os/exec: %v", err)
	}
}

func TestCase234_WithoutPidfd(t *testing.T) {
	for _, calls := range [][]string{{"clone"}, {"wait"}, {"signal"}, {"wait", "signal"}} {
		t.Run(strings.Join(calls, "+"), func(t *testing.T) {
			for _, call := range calls {
				defer proc.RefusePidfd(call)()
			}
			t.Run("Ends", TestCase215_Ends)
			t.Run("Terminate", TestCase230_TerminateAndKill)
			t.Run("Context", TestContextEndsProcess)
			t.Run("Races", TestCase221_Races)
			t.Run("Many", TestCase216_WaitFromMany)
			t.Run("Stopped", TestCase238_StoppedChild)
			t.Run("Left", func(t *testing.T) { leavesNothing(t, 30) })
			if calls[0] == "clone" {
				p := started(t, nothing, nil, struct{}{})
				if _, err := p.SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("SyscallConn: %v", err)
				}
			}
		})
	}
}
