package pool_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/pool"
)

// fifo makes a FIFO. This end is one to read and to write, so that nobody waits
// to open the other.
func fifo(t testing.TB) (path string, f *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, f
}

// gated runs until its gate, a FIFO, is opened.
var gated = pool.Register("gated", func(_ context.Context, gate string) (int, error) {
	f, err := os.Open(gate)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 1))
	return os.Getpid(), err
})

// newGate makes a gate for one call of gated.
func newGate(t testing.TB) (gate string, open func()) {
	t.Helper()
	gate, f := fifo(t)
	return gate, func() {
		if _, err := f.Write([]byte{1}); err != nil {
			t.Error(err)
		}
	}
}

// running returns the worker that runs a function, or 0.
func running(p *pool.Pool, function string) (pid int) {
	for _, w := range p.Stats().Workers {
		if w.Func == function {
			return w.Pid
		}
	}
	return 0
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// affinity returns the numbers of this process's CPUs.
func affinity(t testing.TB) (cpus []int) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for i := 0; len(cpus) < set.Count(); i++ {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus
}

// pin binds all threads of this process, and so those it starts, to the first n
// of its CPUs.
func pin(t testing.TB, n int) (restore func()) {
	cpus := affinity(t)
	if len(cpus) < n {
		t.Skipf("there are no %d CPUs", n)
	}
	bind(t, cpus[:n])
	return func() { bind(t, cpus) }
}

func bind(t testing.TB, cpus []int) {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	for range 2 { // threads may start meanwhile
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			unix.SchedSetaffinity(tid, &set)
		}
	}
}
