package shm

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// largeSize is from where on an allocation is compared with what the machine
// has. Below it the look would cost more than the pages.
const largeSize = 16 << 20

// checkRoom refuses what can't fit into memory. The files behind anonymous
// objects have no limit of their own: the kernel would go on allocating until
// it starts to kill processes.
func checkRoom(size int64) error {
	if size < largeSize {
		return nil
	}
	if free, err := available(); err == nil && size > free {
		return fmt.Errorf("%d bytes wanted, %d available: %w", size, free, unix.ENOMEM)
	}
	return nil
}

// available is the memory that can be had without driving others out, and the
// free swap.
func available() (free int64, err error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := bytes.Fields(lines.Bytes())
		if len(f) < 2 || string(f[0]) != "MemAvailable:" && string(f[0]) != "SwapFree:" {
			continue
		}
		kib, err := strconv.ParseInt(string(f[1]), 10, 54)
		if err != nil {
			return 0, err
		}
		free += kib << 10
	}
	return free, lines.Err()
}
