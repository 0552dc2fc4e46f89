package pool

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// CPUs returns how many workers can run at once: GOMAXPROCS, which the runtime
// takes from this process's affinity and its control group's quota of CPU time,
// unless the program or its environment sets another one.
func CPUs() int { return runtime.GOMAXPROCS(0) }

// pairs is how many callers of a worker's kind may look for its reply without
// sleeping: one that looks and a worker that works are two, and want a CPU each,
// of those that either may use. Where all share one CPU it is 1: nobody looks
// there, but it is worth while to let the other one run before one sleeps.
func pairs(pid int) int {
	var ours, theirs unix.CPUSet
	if unix.SchedGetaffinity(0, &ours) != nil || unix.SchedGetaffinity(pid, &theirs) != nil {
		return 0
	}
	n := min(ours.Count(), theirs.Count())
	for i := range ours {
		ours[i] |= theirs[i]
	}
	return max(min(n, ours.Count()/2), 1)
}

// residentBytes is how much memory a process has, 0 if that can't be said.
func residentBytes(pid int) int64 {
	var all, resident int64
	statm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fmt.Sscan(string(statm), &all, &resident)
	return resident * int64(os.Getpagesize())
}
