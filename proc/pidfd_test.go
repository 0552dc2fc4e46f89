package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// needsPidfd skips a test where the run is one without pidfds.
func needsPidfd(t *testing.T) {
	t.Helper()
	if fuzz.Without("pidfd_open") {
		t.Skip("this run is without pidfds")
	}
}

func openPidFD(t *testing.T, pid int) *proc.PidFD {
	t.Helper()
	f, err := proc.OpenPidFD(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// ended reports whether a pidfd is readable.
func ended(t *testing.T, c syscall.Conn) (readable bool) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := rc.Control(func(fd uintptr) {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		readable = n == 1
	}); err != nil {
		t.Fatal(err)
	}
	return readable
}

func TestCase219_ReadableAtExit(t *testing.T) {
	needsPidfd(t)
	p := started(t, idle, nil, struct{}{})
	f := openPidFD(t, p.Pid())
	if ended(t, p) || ended(t, f) {
		t.Error("readable while it runs")
	}
	p.Signal(syscall.SIGSTOP)
	time.Sleep(10 * time.Millisecond)
	if ended(t, p) || ended(t, f) {
		t.Error("readable while it is stopped")
	}
	p.Signal(syscall.SIGCONT)
	p.Terminate()
	<-p.Done()
	if !ended(t, p) || !ended(t, f) {
		t.Error("not readable after the end")
	}

	// Of a child of os/exec, nobody takes the status from os/exec.
	cmd := exec.Command(shell, "-c", "read x; exit 5")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f = openPidFD(t, cmd.Process.Pid)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	over, end := context.WithCancel(t.Context())
	end()
	if s, err := f.Wait(over); s != nil || err != context.Canceled {
		t.Errorf("Wait with a context that is over: %v, %v", s, err)
	}
	if s, err := f.Wait(short); s != nil || err != context.DeadlineExceeded {
		t.Errorf("Wait with a deadline: %v, %v", s, err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if s, err := f.Wait(within(t)); err != nil || s.ExitCode() != 5 {
				t.Errorf("Wait: %v, %v", s, err)
			}
		})
	}
	in.Close()
	wg.Wait()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("os/exec: %v", err)
	}
	// Now it is nobody's child.
	if s, err := f.Wait(within(t)); err != nil || s.Success() || s.ExitCode() != -1 || s.Signal() != 0 || !strings.Contains(s.String(), "parent") {
		t.Errorf("Wait for a process that was waited for: %v, %v", s, err)
	}
	if err := f.Signal(syscall.SIGKILL); err != os.ErrProcessDone && !fuzz.Without("pidfd_send_signal") {
		t.Errorf("Signal: %v", err)
	}
}

var offers = proc.Register("offers", func(ctx context.Context, f *os.File) error {
	fmt.Printf("%d\n", f.Fd())
	<-ctx.Done()
	return nil
})

func TestCase235_GetFile(t *testing.T) {
	needsPidfd(t)
	r, w := oneWay(t)
	out, outw := oneWay(t)
	p := started(t, offers, &proc.Cmd{Stdout: outw}, w)
	w.Close()
	var number int
	if _, err := fmt.Fscan(out, &number); err != nil {
		t.Fatal(err)
	}
	f := openPidFD(t, p.Pid())
	got, err := f.GetFile(number)
	if err != nil {
		if fuzz.Without("pidfd_getfd") || errors.Is(err, syscall.ENOSYS) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	got.WriteString("through theirs")
	got.Close()
	for _, fd := range []int{number + 1000, -1, math.MaxInt32} {
		if g, err := f.GetFile(fd); g != nil || !errors.Is(err, syscall.EBADF) {
			t.Errorf("descriptor %d: %v, %v", fd, g, err)
		}
	}
	p.Terminate()
	p.Wait(within(t))
	if b, err := io.ReadAll(r); string(b) != "through theirs" {
		t.Errorf("%q, %v", b, err)
	}
	if g, err := f.GetFile(0); g != nil || !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("of a process that is gone: %v, %v", g, err)
	}
	if g, err := proc.OpenPidFD(p.Pid()); g != nil || !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("OpenPidFD of it: %v, %v", g, err)
	}
	for _, pid := range []int{0, -1} {
		if g, err := proc.OpenPidFD(pid); g != nil || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("OpenPidFD(%d): %v, %v", pid, g, err)
		}
	}
	f.Close()
	if g, err := f.GetFile(0); g != nil || !errors.Is(err, os.ErrClosed) {
		t.Errorf("GetFile after Close: %v, %v", g, err)
	}
	if err := f.Signal(0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Signal after Close: %v", err)
	}
	if s, err := f.Wait(within(t)); s != nil || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Wait after Close: %v, %v", s, err)
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close after Close: %v", err)
	}
	if os.Geteuid() == 0 {
		if _, err := started(t, curious, &proc.Cmd{Sys: nobody()}, os.Getpid()).Wait(within(t)); err != nil {
			t.Error(err)
		}
	}
}

// curious wants a file of a process that is none of its business.
var curious = proc.Register("curious", func(_ context.Context, pid int) error {
	f, err := proc.OpenPidFD(pid)
	if err != nil {
		return err
	}
	defer f.Close()
	if g, err := f.GetFile(1); g != nil || !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("GetFile: %v", err)
	}
	if err := f.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("Signal: %v", err)
	}
	return nil
})

// heir waits for its parent's end.
var heir = proc.Register("heir", func(ctx context.Context, out *os.File) error {
	f, err := proc.Self().Parent()
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(out, "%s %v\n", proc.Self().Name(), f.Pid() == os.Getppid())
	s, err := f.Wait(ctx)
	if err != nil {
		return err
	}
	g, err := proc.Self().Parent()
	fmt.Fprintf(out, "%v; then %v, %v", s, g, err)
	return nil
})

var heirs = proc.Register("heirs", func(_ context.Context, out *os.File) error {
	_, err := heir.StartCmd(context.Background(), &proc.Cmd{Name: "the heir", Detach: true}, out)
	if err != nil {
		return err
	}
	out.Close()
	select {}
})

func TestParent(t *testing.T) {
	needsPidfd(t)
	r, w := oneWay(t)
	p := started(t, heirs, nil, w)
	w.Close()
	buf := make([]byte, 100)
	n, err := r.Read(buf)
	if string(buf[:n]) != "the heir true\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	p.Kill()
	b, err := io.ReadAll(r)
	if want := "ended, its exit status is its parent's; then <nil>, os: process already finished"; string(b) != want {
		t.Errorf("%q, %v, want %q", b, err, want)
	}
	if f, err := proc.Self().Parent(); f != nil || !errors.Is(err, errors.ErrUnsupported) || proc.Self().Name() == "" || proc.Self().File("A") != nil {
		t.Errorf("of a process that was not started for a function: %v, %v", f, err)
	}
}

func TestChildren(t *testing.T) {
	if c := proc.Children(); len(c) != 0 {
		t.Fatalf("children: %v", c)
	}
	a, b := started(t, idle, nil, struct{}{}), script(t, proc.Cmd{}, "read x")
	want := []*proc.Process{a, b}
	slices.SortFunc(want, func(a, b *proc.Process) int { return a.Pid() - b.Pid() })
	if c := proc.Children(); !slices.Contains(c, a) || len(c) > 2 {
		t.Errorf("children: %v, want %v", c, want)
	}
	a.Kill()
	a.Wait(within(t))
	b.Kill()
	b.Wait(within(t))
	if c := proc.Children(); len(c) != 0 {
		t.Errorf("children after their end: %v", c)
	}
}
