package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// placements are one CPU for both processes, and two if this process may use
// so many.
func placements() (pls []placement, note string, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, "", os.NewSyscallError("sched_getaffinity", err)
	}
	var cpus []int
	for i := 0; len(cpus) < 2 && i < 1024; i++ {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	pls = []placement{{"one-cpu", cpus[:1], cpus[:1]}}
	if len(cpus) < 2 {
		return pls, "Only one CPU is there: nothing is measured on two.", nil
	}
	return append(pls, placement{"two-cpus", cpus[:1], cpus[1:2]}), "", nil
}

// machine is a line on where this runs.
func machine() string {
	model, virtual := "unknown CPU", ""
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ":")
			switch strings.TrimSpace(key) {
			case "model name":
				model = strings.TrimSpace(value)
			case "flags":
				if strings.Contains(value+" ", " hypervisor ") {
					virtual = ", virtual machine"
				}
			}
		}
	}
	var u unix.Utsname
	kernel := "unknown kernel"
	if unix.Uname(&u) == nil {
		kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s, %d CPUs%s, %s, %s/%s, %s", model, runtime.NumCPU(), virtual, kernel,
		runtime.GOOS, runtime.GOARCH, runtime.Version())
}
