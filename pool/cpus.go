package pool

import (
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
)

var cpuCount = runtime.NumCPU()

// CPUs returns how many workers can run at once: the CPUs of this process's
// affinity, or fewer if its control group has a quota of CPU time. It is at
// least 1.
func CPUs() int { return cpusBelow("/", runtime.NumCPU()) }

// cpusBelow reads the quotas of all groups that this process is in, under root.
func cpusBelow(root string, n int) int {
	groups, _ := os.ReadFile(path.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // number:controllers:path
		if len(f) < 3 || f[1] != "" && !strings.Contains(","+f[1]+",", ",cpu,") {
			continue
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			at := path.Join(root, "sys/fs/cgroup", dir)
			quota, period := read(at, "cpu.max", 0), read(at, "cpu.max", 1)
			if f[1] != "" {
				at = path.Join(root, "sys/fs/cgroup", f[1], dir)
				quota, period = read(at, "cpu.cfs_quota_us", 0), read(at, "cpu.cfs_period_us", 0)
			}
			if quota > 0 && period > 0 {
				n = min(n, (quota+period-1)/period)
			}
			if dir == "/" {
				break
			}
		}
	}
	return max(n, 1)
}

// read is the i-th number in a file, or -1.
func read(dir, name string, i int) int {
	data, _ := os.ReadFile(path.Join(dir, name))
	if f := strings.Fields(string(data)); i < len(f) {
		if n, err := strconv.Atoi(f[i]); err == nil {
			return n
		}
	}
	return -1
}

// residentBytes is how much memory a process has, 0 if that can't be said.
func residentBytes(pid int) int64 {
	return max(0, int64(read("/proc/"+strconv.Itoa(pid), "statm", 1))) * int64(os.Getpagesize())
}
