package proc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

const shell = "/bin/sh"

// script starts the shell with a script; the test ends it.
func script(t testing.TB, cmd proc.Cmd, text string, args ...string) *proc.Process {
	t.Helper()
	cmd.Path, cmd.Args = shell, append([]string{"sh", "-c", text, "script"}, args...)
	p, err := proc.Start(context.Background(), &cmd)
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

// says returns what a script writes, and how it ended.
func says(t testing.TB, cmd proc.Cmd, text string, args ...string) (string, *proc.State) {
	t.Helper()
	r, w := oneWay(t)
	cmd.Stdout = w
	p := script(t, cmd, text, args...)
	w.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := p.Wait(within(t))
	if s == nil {
		t.Fatal("no state")
	}
	return string(b), s
}

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	r, w := oneWay(t)
	w.WriteString("from a file")
	w.Close()
	in, inw := oneWay(t)
	inw.WriteString("from stdin")
	inw.Close()
	for _, limits := range []proc.Limits{{}, {Core: 1}} { // directly and through a copy of us
		if limits.Core == 0 {
			out, s := says(t, proc.Cmd{
				Name: "teller", Dir: dir, Env: []string{"A=1", "A=2", "F=9", "PATH=" + os.Getenv("PATH")}, Stdin: in,
				Files: map[string]*os.File{"F": r}, Limits: limits,
			}, `echo "$1 $A $(pwd) $(cat) $(cat <&$F)"; exit 3`, "one")
			if want := "one 2 " + dir + " from stdin from a file\n"; out != want || s.ExitCode() != 3 {
				t.Errorf("%q, %v; want %q", out, s, want)
			}
			continue
		}
		f, err := os.Open(filepath.Join(t.TempDir(), "."))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out, s := says(t, proc.Cmd{Dir: dir, Env: []string{"A=2", "PATH=" + os.Getenv("PATH")}, Files: map[string]*os.File{"F": f}, Limits: limits},
			`echo "$1 $A $(pwd) $(readlink /proc/self/fd/$F) $(env | grep -c RAWIPC) $(ulimit -c)"; exit 4`, "two")
		if want := "two 2 " + dir + " " + f.Name()[:len(f.Name())] + " 0 0\n"; strings.ReplaceAll(out, "/.", "") != strings.ReplaceAll(want, "/.", "") || s.ExitCode() != 4 {
			t.Errorf("through a copy: %q, %v; want %q", out, s, want)
		}
	}
	p := script(t, proc.Cmd{}, "exit 0")
	if s, err := p.Wait(within(t)); err != nil || p.Name() != "sh" {
		t.Errorf("%s: %v, %v", p.Name(), s, err)
	}
	p = script(t, proc.Cmd{}, "exit 7")
	_, err := p.Wait(within(t))
	if want := fmt.Sprintf("proc: sh (pid %d): exit status 7", p.Pid()); err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// TestProgramDescriptors: a program has stdio and what it was given, in spite of
// 200 others here, and no open end of ours.
func TestProgramDescriptors(t *testing.T) {
	for range 100 {
		oneWay(t)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, limits := range []proc.Limits{{}, {Core: 1}} {
		out, _ := says(t, proc.Cmd{Stderr: null, Files: map[string]*os.File{"F": null}, Limits: limits},
			`ls /proc/$$/fd; echo "F=$F"`)
		if f, _ := strings.CutPrefix(out, "0\n1\n2\n"); f != "3\nF=3\n" && f != "6\nF=6\n" {
			t.Errorf("limits %v: descriptors %q", limits, out)
		}
	}
}

// TestBlockingStdio gives pipes in Go's non-blocking mode to a program that has
// to wait for its input, and for room for its output.
func TestBlockingStdio(t *testing.T) {
	for _, limits := range []proc.Limits{{}, {Core: 1}} {
		in, inw := oneWay(t)
		r, w := oneWay(t)
		p := script(t, proc.Cmd{Stdin: in, Stdout: w, Limits: limits}, `read n; head -c $n /dev/zero`)
		in.Close()
		w.Close()
		time.Sleep(20 * time.Millisecond)
		inw.WriteString("300000\n")
		time.Sleep(20 * time.Millisecond)
		n, err := io.Copy(io.Discard, r)
		if s, werr := p.Wait(within(t)); n != 300_000 || err != nil || werr != nil {
			t.Errorf("%d bytes, %v; %v, %v", n, err, s, werr)
		}
		rc, _ := r.SyscallConn()
		rc.Control(func(fd uintptr) {
			if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("our end is in blocking mode: flags %#x, %v", flags, err)
			}
		})
	}
}

// listInherited starts a program and a function in a process that has inherited
// descriptors.
func listInherited() error {
	os.Unsetenv(noDispatch)
	proc.Dispatch()
	ctx := context.Background()
	for _, limits := range []proc.Limits{{}, {Core: 1}} {
		p, err := proc.Start(ctx, &proc.Cmd{Path: shell, Args: []string{"sh", "-c", "echo $(ls -l /proc/$$/fd 2>/dev/null | grep -c heirloom)"},
			Stdout: os.Stdout, Limits: limits})
		if err != nil {
			return err
		}
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
	}
	p, err := listFiles.StartCmd(ctx, &proc.Cmd{Stdout: os.Stdout}, nil)
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}

// TestInheritedDescriptors: what this process got from whoever started it is not
// for its children.
func TestInheritedDescriptors(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "heirloom"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), noDispatch+"=inherits")
	cmd.ExtraFiles = []*os.File{f, nil, nil, f, f, nil, nil, nil, nil, f}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "0\n0\n") || strings.Contains(string(out), "heirloom") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestCase223_SwappedStdio(t *testing.T) {
	r1, w1 := oneWay(t)
	r2, w2 := oneWay(t)
	p := started(t, swapped, nil, [2]*os.File{w1, w2})
	w1.Close()
	w2.Close()
	one, _ := io.ReadAll(r1)
	two, _ := io.ReadAll(r2)
	if _, err := p.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	if string(one) != "err" || string(two) != "out" {
		t.Errorf("with 1 and 2 swapped: %q and %q", one, two)
	}
}

// swapped has the files as its descriptors 1 and 2 and gives them to a program
// the other way round.
var swapped = proc.Register("swapped", func(ctx context.Context, f [2]*os.File) error {
	for i := range f {
		rc, err := f[i].SyscallConn()
		if err != nil {
			return err
		}
		rc.Control(func(fd uintptr) { err = unix.Dup3(int(fd), i+1, unix.O_CLOEXEC) })
		if err != nil {
			return err
		}
	}
	p, err := proc.Start(ctx, &proc.Cmd{Path: shell, Args: []string{"sh", "-c", "printf out; printf err >&2"},
		Stdout: os.NewFile(2, "2"), Stderr: os.NewFile(1, "1")})
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
})

func TestCase224_ExecFails(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := strings.Repeat("x", 8<<20)
	tests := []struct {
		name string
		cmd  proc.Cmd
		is   error
		text string
	}{
		{"missing", proc.Cmd{Path: filepath.Join(dir, "none")}, os.ErrNotExist, "none"},
		{"not executable", proc.Cmd{Path: write("plain", "#!/bin/sh\n", 0o644)}, os.ErrPermission, "plain"},
		{"a directory", proc.Cmd{Path: dir}, os.ErrPermission, dir},
		{"bad format", proc.Cmd{Path: write("text", "no program\n", 0o755)}, syscall.ENOEXEC, "text"},
		{"no interpreter", proc.Cmd{Path: write("script", "#!/nowhere/sh\n", 0o755)}, os.ErrNotExist, "script"},
		{"arguments too long", proc.Cmd{Path: shell, Args: []string{"sh", long}}, syscall.E2BIG, shell},
		{"environment too long", proc.Cmd{Path: shell, Env: []string{"A=" + long}}, syscall.E2BIG, shell},
		{"no path", proc.Cmd{Args: []string{"sh"}}, nil, "Path of Cmd is empty"},
		{"NUL in the path", proc.Cmd{Path: "/bin/s\x00h"}, nil, "Path is \"/bin/s\\x00h\": it has a NUL"},
		{"NUL in an argument", proc.Cmd{Path: shell, Args: []string{"sh", "\x00"}}, nil, "Args[1] is"},
		{"no directory", proc.Cmd{Path: shell, Dir: filepath.Join(dir, "none")}, os.ErrNotExist, "chdir"},
		{"a file without a name", proc.Cmd{Path: shell, Files: map[string]*os.File{"": os.Stdin}}, nil, "Files has a file called \"\""},
		{"a file with an odd name", proc.Cmd{Path: shell, Files: map[string]*os.File{"A=": os.Stdin}}, nil, "Files has a file called \"A=\""},
		{"a nil file", proc.Cmd{Path: shell, Files: map[string]*os.File{"A": os.Stdin, "B": nil}}, os.ErrInvalid, "Files[\"B\"] is nil, want an open file"},
		{"a negative limit", proc.Cmd{Path: shell, Limits: proc.Limits{Files: -1}}, nil, "Limits.Files is -1: want 0"},
		{"tree without a cgroup", proc.Cmd{Path: shell, Tree: true, Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: 0}}, nil, "Sys.CgroupFD is no cgroup"},
	}
	before := descriptors(t)
	for _, aided := range []bool{false, true} {
		for _, tt := range tests {
			if aided && tt.cmd.Limits == (proc.Limits{}) {
				if tt.name == "environment too long" {
					continue // it can't be this program either
				}
				tt.cmd.Limits.Core = 1
			}
			p, err := proc.Start(within(t), &tt.cmd)
			if p != nil || err == nil || !strings.HasPrefix(err.Error(), "proc: start") || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%s, aided %v: %v, %v, want %q in it", tt.name, aided, p, err, tt.text)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%s, aided %v: %v is not %v", tt.name, aided, err, tt.is)
			}
		}
	}
	if _, err := nothing.StartCmd(within(t), &proc.Cmd{Path: shell}, struct{}{}); err == nil || !strings.Contains(err.Error(), "see proc.Start") {
		t.Errorf("a function with a path: %v", err)
	}
	if after := descriptors(t); !reflect.DeepEqual(after, before) {
		t.Errorf("descriptors before: %v\nafter: %v", before, after)
	}
	noChildren(t)
}

// TestCase232_Signals lets a program look at what it starts with.
func TestCase232_Signals(t *testing.T) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	ignored := fieldOf(string(own), "SigIgn")
	for _, cmd := range []proc.Cmd{{}, {Limits: proc.Limits{Core: 1}}} {
		r, w := oneWay(t)
		cmd.Path, cmd.Args, cmd.Stdout = "/bin/cat", []string{"cat", "/proc/self/status"}, w
		p, err := proc.Start(within(t), &cmd)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		b, _ := io.ReadAll(r)
		if _, err := p.Wait(within(t)); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"SigPnd": "0000000000000000", "ShdPnd": "0000000000000000", "SigBlk": "0000000000000000",
			"SigCgt": "0000000000000000", "SigIgn": ignored,
		} {
			if got := fieldOf(string(b), name); got != want {
				t.Errorf("limits %v: %s is %q, want %q", cmd.Limits, name, got, want)
			}
		}
	}
}

// fieldOf returns a line's value in a text as /proc/self/status.
func fieldOf(text, name string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// reportSoft lets a program tell its number of files.
func reportSoft(aided bool) error {
	os.Unsetenv(noDispatch)
	proc.Dispatch()
	ctx := context.Background()
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	fmt.Printf("here %v; ", lim.Cur > 77)
	cmd := &proc.Cmd{Path: shell, Args: []string{"sh", "-c", "echo $(ulimit -S -n)"}, Stdout: os.Stdout}
	if aided {
		cmd.Limits.Core = 1
	}
	p, err := proc.Start(ctx, cmd)
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}

// TestCase239_SoftLimitRestored: Go raises a process's soft limit of files to the
// hard one; a program started by it gets the soft limit that was.
func TestCase239_SoftLimitRestored(t *testing.T) {
	for _, aided := range []bool{false, true} {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		mode := noDispatch + "=soft"
		if aided {
			mode = noDispatch + "=soft-aided"
		}
		out, s := says(t, proc.Cmd{Env: append(os.Environ(), mode)}, `ulimit -S -n 77; exec "$1"`, exe)
		if want := "here true; 77\n"; out != want || !s.Success() {
			t.Errorf("aided %v: %q, %v, want %q", aided, out, s, want)
		}
	}
}

var filesOf = proc.Register("files of", func(_ context.Context, out *os.File) error {
	b, err := io.ReadAll(proc.Self().File("B"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s %v %v %v", b, proc.Self().File("A").Name(), proc.Self().File("C") == nil, proc.Self().Name())
	return nil
})

func TestFilesOfFunction(t *testing.T) {
	r, w := oneWay(t)
	br, bw := oneWay(t)
	bw.WriteString("in B")
	bw.Close()
	p := started(t, filesOf, &proc.Cmd{Name: "reader", Files: map[string]*os.File{"B": br, "A": br}}, w)
	w.Close()
	if b, _ := io.ReadAll(r); string(b) != "in B A true reader" {
		t.Errorf("%q", b)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Error(err)
	}
}

// TestProgramContext: what holds for functions holds for programs.
func TestProgramContext(t *testing.T) {
	for _, limits := range []proc.Limits{{}, {Core: 1}} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := oneWay(t)
		p, err := proc.Start(ctx, &proc.Cmd{Path: shell, Args: []string{"sh", "-c", `trap "" TERM; echo; while :; do sleep 0.1; done`},
			Stdout: w, WaitDelay: 50 * time.Millisecond, Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		r.Read(make([]byte, 1))
		cancel()
		s, err := p.Wait(within(t))
		var e *proc.ExitError
		if !errors.As(err, &e) || s.Signal() != syscall.SIGKILL || e.Cause != context.Canceled {
			t.Errorf("limits %v: %v, %v", limits, s, err)
		}
		if _, err := proc.Start(ctx, &proc.Cmd{Path: shell, Limits: limits}); !errors.Is(err, context.Canceled) {
			t.Errorf("Start with a context that has ended: %v", err)
		}
	}
	var b bytes.Buffer
	fmt.Fprint(&b, proc.Children())
	if b.String() != "[]" {
		t.Errorf("children %s", b.String())
	}
}
