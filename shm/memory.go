package shm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// This file allocates memory, or says how much there is.

func checkSize(size int64) error {
	if size < 1 || int64(int(size)) != size {
		return fmt.Errorf("size %d, want 1 or more: %w", size, unix.EINVAL)
	}
	return nil
}

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

// allocateStep is how much is allocated at once. The kernel gives all of it back
// when a signal comes, so a profiler's could keep a large allocation from ever
// ending.
const allocateStep = 16 << 20

// allocate gives the file pages for what lies between from and to, its new end,
// or says how much was wanted and how much there is.
func allocate(fd int, from, to int64) error {
	if to-from > allocateStep { // rather than fill it up for others first
		if free, limited := freeBytes(fd); limited && to-from > free {
			return noRoom(to-from, free)
		}
	}
	for at := from; at < to; {
		n := min(to-at, allocateStep)
		err := ignoringEINTR(func() error { return unix.Fallocate(fd, 0, at, n) })
		if errors.Is(err, unix.ENOSPC) {
			free, _ := freeBytes(fd)
			return noRoom(to-from, free+at-from)
		}
		if err != nil {
			return fmt.Errorf("%d bytes wanted: %w", to-from, os.NewSyscallError("fallocate", err))
		}
		at += n
	}
	return nil
}

func noRoom(want, free int64) error {
	return fmt.Errorf("%d bytes wanted, %d free: %w", want, free, os.NewSyscallError("fallocate", unix.ENOSPC))
}

// freeBytes is the room on the file's file system, if that has a limit.
func freeBytes(fd int) (free int64, limited bool) {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil || st.Blocks == 0 {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}

// explain says of ENOSPC from where objects are named what has run out there.
func explain(err error) error {
	var st unix.Statfs_t
	if !errors.Is(err, unix.ENOSPC) || unix.Statfs(dir, &st) != nil {
		return err
	}
	return fmt.Errorf("%d bytes and %d of %d files free in %s: %w",
		uint64(st.Bavail)*uint64(st.Bsize), st.Ffree, st.Files, dir, err)
}
