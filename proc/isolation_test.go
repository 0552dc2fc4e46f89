package proc_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

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
	if fuzz.Without("sched_setaffinity") || fuzz.Without("sched_getaffinity") {
		t.Skip("this run is without affinity: Cmd.CPUs is refused with its call's name")
	}
	all := output(t, cpus, struct{}{})
	list := strings.Fields(all)
	list = list[:len(list)-2]
	for i, name := range list {
		var cpu int
		fmt.Sscan(name, &cpu)
		one := []int{cpu}
		if i == 0 && list[len(list)-1] != "1023" {
			one = append(one, 1023) // is not there, and left out
		}
		r, w := oneWay(t)
		p := started(t, cpus, &proc.Cmd{CPUs: one, Stdout: w}, struct{}{})
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
	// The pipe above stdio is what the child says hello through.
	want := []string{"/dev/null", "/dev/null", "/dev/null", "pipe", "pipe", "report", "report"}
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
