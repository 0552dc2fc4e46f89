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
