package proc_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
)

// TestCase229_ParentGone starts the child's half as a parent does that is gone
// when the child says hello: it must not run anything.
func TestCase229_ParentGone(t *testing.T) {
	for _, program := range []bool{false, true} {
		req, n := proc.RequestFile(t, program)
		report, err := os.CreateTemp(t.TempDir(), "report")
		if err != nil {
			t.Fatal(err)
		}
		defer report.Close()
		for _, alive := range []bool{true, false} {
			r, w := oneWay(t)
			if !alive {
				r.Close()
			}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{proc.EnvMark + "=" + n}
			cmd.ExtraFiles = []*os.File{req, report, w}
			out, err := cmd.CombinedOutput()
			w.Close()
			if alive && (string(out) != "ran\n" || err != nil) || !alive && (len(out) != 0 || cmd.ProcessState.ExitCode() != 2) {
				t.Errorf("program %v, parent alive %v: %q, %v", program, alive, out, err)
			}
		}
	}
}

var ran = proc.Register(proc.RanName, func(context.Context, struct{}) error {
	fmt.Println("ran")
	return nil
})

// starter starts processes of every kind as fast as it can; they hold Out.
var starter = proc.Register("starter", func(_ context.Context, a planted) error {
	ctx := context.Background()
	sleep := []string{"sleep", "60"}
	path, err := exec.LookPath("sleep")
	if err != nil {
		return err
	}
	a.Out.WriteString("\n")
	for i := 0; i < 100; i++ {
		switch i % 4 {
		case 0:
			_, err = member.Start(ctx, family{Out: a.Out, In: os.Stdin})
		case 1:
			_, err = proc.Start(ctx, &proc.Cmd{Path: path, Args: sleep, Stdout: a.Out})
		case 2:
			_, err = proc.Start(ctx, &proc.Cmd{Path: path, Args: sleep, Stdout: a.Out, Limits: proc.Limits{Core: 1}})
		case 3:
			_, err = proc.Start(ctx, &proc.Cmd{Path: path, Args: sleep, Stdout: a.Out, Tree: a.End})
		}
		if err != nil {
			return err
		}
	}
	select {}
})

// TestCase229_KilledAmidStarts kills a process at some moment while it starts
// others.
func TestCase229_KilledAmidStarts(t *testing.T) {
	for range rounds(60, 5) {
		r, w := oneWay(t)
		p := started(t, starter, nil, planted{Out: w, End: os.Geteuid() == 0})
		w.Close()
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(15_000)) * time.Microsecond)
		p.Kill()
		if s, err := p.Wait(within(t)); s == nil || s.Signal() != syscall.SIGKILL {
			t.Fatalf("the parent: %v, %v", s, err)
		}
		gone(t, r)
	}
}

// generations starts itself n times, one below the other; the last one says so.
type generations struct {
	N   int
	Out *os.File
}

var generation *proc.Func[generations]

func init() { // a variable would refer to itself
	generation = proc.Register("generation", func(ctx context.Context, a generations) error {
		if a.N == 0 {
			a.Out.WriteString("there\n")
			select {}
		}
		a.N--
		p, err := generation.Start(context.Background(), a)
		if err != nil {
			return err
		}
		a.Out.Close()
		_, err = p.Wait(context.Background())
		return err
	})
}

// TestParentKilled: a parent ended by SIGKILL leaves none of three generations.
func TestParentKilled(t *testing.T) {
	for range rounds(100, 7) {
		r, w := oneWay(t)
		p := started(t, generation, nil, generations{3, w})
		w.Close()
		if line, err := bufio.NewReader(r).ReadString('\n'); line != "there\n" {
			t.Fatalf("%q, %v", line, err)
		}
		p.Kill()
		gone(t, r)
	}
}

// byThread starts a program by way of a copy of us that executes it in another
// thread than its main one: the kernel has "dies with its parent" by thread.
var byThread = proc.Register("by thread", func(_ context.Context, a planted) error {
	_, err := proc.Start(context.Background(), &proc.Cmd{
		Path: shell, Args: []string{"sh", "-c", "echo; exec sleep 60"}, Stdout: a.Out,
		Limits: proc.Limits{Core: 1}, Env: append(os.Environ(), noDispatch+"=thread"),
	})
	if err != nil {
		return err
	}
	a.Out.Close()
	select {}
})

func TestProgramOfThreadDiesWithParent(t *testing.T) {
	r, w := oneWay(t)
	p := started(t, byThread, nil, planted{Out: w})
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	gone(t, r)
}
