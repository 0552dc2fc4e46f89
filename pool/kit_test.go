package pool_test

import (
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

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
