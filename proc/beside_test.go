package proc_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// hopeless is a ratio that says something is broken rather than slow: figures
// are reported, since the machine has others to serve.
const hopeless = 10

// firstLine writes when it began.
var firstLine = proc.Register("first line", func(_ context.Context, out *os.File) error {
	return binary.Write(out, binary.NativeEndian, monotonic())
})

func monotonic() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

func byProc(t testing.TB) {
	p, err := nothing.Start(context.Background(), struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// byExec ends where Dispatch stands: the same program, the same package
// initialisation, no handshake.
func byExec(t testing.TB) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), noDispatch+"=exit")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

func byProgram(t testing.TB) {
	p, err := proc.Start(context.Background(), &proc.Cmd{Path: "/proc/self/exe", Env: append(os.Environ(), noDispatch+"=exit")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func medianOf(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}

// cpuTime is what this process and its children have used.
func cpuTime() (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		unix.Getrusage(who, &u)
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// TestStartBeside measures Start and Wait beside the same binary by os/exec, in
// turns, and others after each other, and how long it is to the function's first
// line.
func TestStartBeside(t *testing.T) {
	n := rounds(100, 6)
	if *long {
		n = 1000
	}
	ways := []struct {
		name string
		one  func(testing.TB)
	}{{"a function by proc", byProc}, {"the same binary by os/exec", byExec}, {"the same binary by proc.Start", byProgram}}
	// Others may have the CPUs for all of one measurement.
	for since := time.Now(); ; {
		took := make([][]time.Duration, len(ways))
		cpu := make([]time.Duration, len(ways))
		for i := range n + 2 {
			for w := range ways {
				used, start := cpuTime(), time.Now()
				ways[w].one(t)
				if i >= 2 {
					took[w] = append(took[w], time.Since(start))
					cpu[w] += cpuTime() - used
				}
			}
		}
		for w := range ways {
			t.Logf("%-30s %9v, CPU %9v", ways[w].name, medianOf(took[w]), cpu[w]/time.Duration(n))
		}
		ratio := float64(medianOf(took[0])) / float64(medianOf(took[1]))
		t.Logf("a function by proc is %.2f × os/exec, by CPU time %.2f ×", ratio, float64(cpu[0])/float64(cpu[1]))
		if ratio <= hopeless {
			break
		}
		if time.Since(since) > bound {
			t.Errorf("that is more than %d ×, again and again", hopeless)
			break
		}
	}

	r, w := oneWay(t)
	var first []time.Duration
	for range n {
		start := monotonic()
		p := started(t, firstLine, nil, w)
		var at int64
		if err := binary.Read(r, binary.NativeEndian, &at); err != nil {
			t.Fatal(err)
		}
		if at < start {
			t.Errorf("the first line ran %v before Start", time.Duration(start-at))
		}
		first = append(first, time.Duration(at-start))
		if _, err := p.Wait(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%-30s %9v", "Start to the first line", medianOf(first))
}

// TestStartBesideSmall is the same of a small program, which has little more in
// it than this package.
func TestStartBesideSmall(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if testing.Short() || err != nil {
		t.Skip("builds a program with the go command")
	}
	bin := filepath.Join(t.TempDir(), "start")
	if out, err := exec.Command(goTool, "build", "-o", bin, "./testdata/start").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, "100").Output()
	if err != nil {
		t.Fatal(err)
	}
	var took, cpu [2]float64
	if _, err := fmt.Sscan(string(out), &took[0], &cpu[0], &took[1], &cpu[1]); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	t.Logf("a small program's function is %.2f × os/exec (%.0f µs), by CPU time %.2f ×", took[0]/took[1], took[1]/1e3, cpu[0]/cpu[1])
}

func TestStartBesideC(t *testing.T) {
	cc := fuzz.Tool(t, "gcc")
	bin := filepath.Join(t.TempDir(), "spawn")
	if out, err := exec.Command(cc, "-O2", "-static", "-o", bin, "testdata/spawn.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	logMedian(t, "posix_spawn of a static C program", bin, fmt.Sprint(rounds(100, 10)))
}

func TestStartBesidePython(t *testing.T) {
	python := fuzz.Tool(t, "python3")
	for _, how := range []string{"fork", "forkserver", "spawn"} {
		logMedian(t, "Python's "+how, python, "testdata/start.py", how, fmt.Sprint(rounds(10, 2)))
	}
}

// logMedian reports what a program prints: nanoseconds.
func logMedian(t *testing.T, name, path string, args ...string) {
	t.Helper()
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	var took time.Duration
	if _, err := fmt.Sscan(string(out), (*int64)(&took)); err != nil || took <= 0 {
		t.Fatalf("%s: %q", name, out)
	}
	t.Logf("%-30s %9v", name, took)
}
