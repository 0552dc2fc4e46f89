package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// TestThousandsOfStarts leaves no descriptor, child or mapping of a file.
func TestThousandsOfStarts(t *testing.T) {
	n := rounds(2000, 100)
	if *long {
		n = 10_000
	}
	one := func() {
		p, err := nothing.Start(context.Background(), struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	one()
	before := fuzz.Hold()
	for range n {
		one()
	}
	for _, l := range before.Leaks() {
		t.Error("left behind:", l)
	}
	t.Logf("%d starts", n)
	if after := fuzz.Hold(); after.Threads > before.Threads+4 {
		t.Errorf("%d threads, %d before", after.Threads, before.Threads)
	}
	noChildren(t)
}

// nest starts itself, a process in a process.
var nest = proc.Register("nest", func(ctx context.Context, depth int) error {
	if depth == 0 {
		return errors.New("from the bottom")
	}
	p, err := nested().Start(ctx, depth-1)
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	var e *proc.ExitError
	if !errors.As(err, &e) {
		return fmt.Errorf("at depth %d: %v", depth, err)
	}
	return errors.New(e.Msg)
})

var nested func() *proc.Func[int] // nest, which may not refer to itself

func init() { nested = func() *proc.Func[int] { return nest } }

func TestCase237_NestedStarts(t *testing.T) {
	for depth := range 4 {
		_, err := started(t, nest, nil, depth).Wait(within(t))
		var e *proc.ExitError
		if !errors.As(err, &e) || e.Msg != "from the bottom" {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

// crowded meets the limit on its user's threads.
var crowded = proc.Register("crowded", func(ctx context.Context, _ struct{}) error {
	// The runtime must not want a thread while there is none to be had.
	var ready, stay, over sync.WaitGroup
	stay.Add(1)
	for range 20 {
		ready.Add(1)
		over.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			stay.Wait()
			runtime.UnlockOSThread()
		})
	}
	ready.Wait()
	stay.Done()
	over.Wait()
	runtime.GC() // its workers are there, too, and it does not come soon again
	time.Sleep(10 * time.Millisecond)
	start := func() error {
		p, err := proc.Start(ctx, &proc.Cmd{Path: shell, Args: []string{"sh", "-c", ":"}})
		if err == nil {
			_, err = p.Wait(ctx)
		}
		return err
	}
	if err := start(); err != nil {
		return err
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &lim); err != nil {
		return err
	}
	before, err := openFiles()
	if err != nil {
		return err
	}
	few := lim
	few.Cur = 1
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &few); err != nil {
		return err
	}
	var refused [3]error
	for i := range refused {
		refused[i] = start()
	}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &lim); err != nil {
		return err
	}
	for _, err := range refused {
		if !errors.Is(err, syscall.EAGAIN) {
			return fmt.Errorf("at the limit: %v", err)
		}
	}
	after, err := openFiles()
	if err != nil || len(after) != len(before) {
		return fmt.Errorf("descriptors %v, before %v, %v", after, before, err)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		return fmt.Errorf("wait4: %v", err)
	}
	return start()
})

func TestCase226_NoProcessLeft(t *testing.T) {
	cmd := &proc.Cmd{}
	if os.Geteuid() == 0 {
		cmd.Sys = nobody() // the limit does not bind root
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd.Stderr = null
	for range 10 {
		_, err := started(t, crowded, cmd, struct{}{}).Wait(within(t))
		var e *proc.ExitError
		if errors.As(err, &e) && len(e.Crash) > 0 {
			t.Logf("the runtime found no thread: %v", err) // again
			continue
		}
		if err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("the test's runtime found no thread, ten times")
}

// copyOfUs copies this program to a place where it may be replaced.
func copyOfUs(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutBinary is a main whose binary goes away while it runs.
func withoutBinary(path, how string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	if how == "replaced" {
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho another program\n"), 0o755); err != nil {
			return err
		}
	}
	proc.Dispatch()
	p, err := ran.StartCmd(context.Background(), &proc.Cmd{Stdout: os.Stdout}, struct{}{})
	if err != nil {
		return err
	}
	_, err = p.Wait(context.Background())
	return err
}

func TestBinaryGoes(t *testing.T) {
	for _, how := range []string{"deleted", "replaced"} {
		path := copyOfUs(t)
		cmd := exec.Command(path)
		cmd.Env = append(os.Environ(), noDispatch+"="+how)
		if out, err := cmd.CombinedOutput(); string(out) != "ran\n" || err != nil {
			t.Errorf("%s: %q, %v", how, out, err)
		}
	}
}

// TestGoRun starts functions from a program that go run has built, in a
// directory that it deletes.
func TestGoRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command here")
	}
	out, err := exec.Command(goTool, "run", "./testdata/run").CombinedOutput()
	if want := "hello from a child\nexit status 0\n"; string(out) != want || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// early is a Start in a program's initialisation.
var early = func() error {
	if os.Getenv(noDispatch) != "init" {
		return nil
	}
	_, err := nothing.Start(context.Background(), struct{}{})
	return err
}()

func TestCase236_StartFromInit(t *testing.T) {
	// In a program that nobody started for a function, and in a child.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{noDispatch + "=init"}
	out, _ := cmd.CombinedOutput()
	if want := "proc: start nothing: call proc.Dispatch first in main (or TestMain)\n"; string(out) != want {
		t.Errorf("in a program: %q, want %q", out, want)
	}
	r, w := oneWay(t)
	_, err := nothing.StartCmd(within(t), &proc.Cmd{Env: []string{noDispatch + "=init"}, Stderr: w}, struct{}{})
	w.Close()
	b, _ := io.ReadAll(r)
	if !errors.Is(err, proc.ErrNoDispatch) || !strings.Contains(string(b), "this is itself a child") {
		t.Errorf("in a child: %v, %q", err, b)
	}
	noChildren(t)
}

// TestOtherWaiters runs children of os/exec beside ours, all at once.
func TestOtherWaiters(t *testing.T) {
	var wg sync.WaitGroup
	for i := range rounds(100, 30) {
		wg.Go(func() {
			cmd := exec.Command(shell, "-c", fmt.Sprintf("exit %d", i))
			if err := cmd.Run(); cmd.ProcessState.ExitCode() != i {
				t.Errorf("os/exec %d: %v", i, err)
			}
		})
		wg.Go(func() {
			p, err := proc.Start(context.Background(), &proc.Cmd{Path: shell, Args: []string{"sh", "-c", fmt.Sprintf("exit %d", i)}})
			if err != nil {
				t.Error(err)
				return
			}
			if s, err := p.Wait(within(t)); s == nil || s.ExitCode() != i {
				t.Errorf("proc %d: %v, %v", i, s, err)
			}
		})
	}
	wg.Wait()
	noChildren(t)
}

// TestAliveTransitions follows a process through its life: case 216.
func TestCase216_AliveTransitions(t *testing.T) {
	r, w := oneWay(t)
	p := script(t, proc.Cmd{Stdin: r}, "read x; exit 4")
	r.Close() // the shell's end is another one, which blocks
	if !p.Alive() {
		t.Error("not alive after Start")
	}
	select {
	case <-p.Done():
		t.Error("done after Start")
	default:
	}
	begin := time.Now()
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	s, err := p.Wait(short)
	if took := time.Since(begin); s != nil || err != context.DeadlineExceeded || took < 30*time.Millisecond {
		t.Errorf("Wait: %v, %v after %v", s, err, took)
	}
	w.Close()
	first, err1 := p.Wait(within(t))
	if p.Alive() || first == nil || first.ExitCode() != 4 {
		t.Errorf("after the end: %v, %v", first, err1)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if again, err := p.Wait(gone); again != first || err != err1 { // the end goes before the context
		t.Errorf("again: %v, %v", again, err)
	}
	<-p.Done()
}
