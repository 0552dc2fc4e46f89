package pool

import (
	"fmt"
	"os"
	"runtime"
)

// CPUs returns how many workers can run at once: GOMAXPROCS, which the runtime
// takes from this process's affinity and its control group's quota of CPU time,
// unless the program or its environment sets another one.
func CPUs() int { return runtime.GOMAXPROCS(0) }

// residentBytes is how much memory a process has, 0 if that can't be said.
func residentBytes(pid int) int64 {
	var all, resident int64
	statm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fmt.Sscan(string(statm), &all, &resident)
	return resident * int64(os.Getpagesize())
}
