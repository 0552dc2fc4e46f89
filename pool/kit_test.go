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

// pin binds all threads of this process, and so those it starts, to the first n
// of its CPUs.
func pin(b *testing.B, n int) (restore func()) {
	var old, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		b.Fatal(err)
	}
	for i := 0; set.Count() < n; i++ {
		if i == 1024 {
			b.Skipf("there are no %d CPUs", n)
		}
		if old.IsSet(i) {
			set.Set(i)
		}
	}
	bind(b, &set)
	return func() { bind(b, &old) }
}

func bind(b *testing.B, set *unix.CPUSet) {
	for range 2 { // threads may start meanwhile
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			b.Fatal(err)
		}
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			unix.SchedSetaffinity(tid, set)
		}
	}
}
