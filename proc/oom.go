package proc

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// oomCount is where a memory cgroup tells how many of its processes the kernel
// has killed for want of memory, and what it said when the child was new.
type oomCount struct {
	path  string // or
	dir   *os.File
	known bool
	start uint64
}

// watch reads the counter of the cgroup that the child is in: the one that sys
// names, or this process's own.
func watch(sys *syscall.SysProcAttr) (c oomCount) {
	if sys.UseCgroupFD {
		if fd, err := openAt(sys.CgroupFD, ".", unix.O_PATH|unix.O_DIRECTORY); err == nil {
			c.dir = os.NewFile(uintptr(fd), "cgroup")
		}
	} else {
		c.path = memoryEvents()
	}
	c.start, c.known = c.read()
	return c
}

// rose reports whether a process of the cgroup was killed since.
func (c *oomCount) rose() bool {
	if !c.known {
		return false
	}
	n, ok := c.read()
	return ok && n > c.start
}

func (c *oomCount) close() { c.dir.Close() }

func (c *oomCount) read() (n uint64, ok bool) {
	fd, err := -1, error(unix.ENOENT)
	switch {
	case c.dir != nil:
		rc, rerr := c.dir.SyscallConn()
		if rerr != nil {
			return 0, false
		}
		rc.Control(func(dir uintptr) { fd, err = openAt(int(dir), "memory.events.local", unix.O_RDONLY) })
	case c.path != "":
		fd, err = openAt(unix.AT_FDCWD, c.path, unix.O_RDONLY)
	}
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var buf [512]byte
	size, err := preadFull(fd, buf[:])
	if err != nil {
		return 0, false
	}
	return oomKills(buf[:size])
}

// oomKills finds the line "oom_kill 3".
func oomKills(b []byte) (uint64, bool) {
	for line := range bytes.Lines(b) {
		if text, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// memoryEvents returns the file with the counter of this process's own memory
// cgroup, of version 2 or 1; empty: none can be seen.
var memoryEvents = sync.OnceValue(func() string {
	groups, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	return findEvents(string(groups), string(mounts), func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
})

// findEvents looks for the cgroup where it is mounted. exists is os.Stat.
func findEvents(groups, mounts string, exists func(string) bool) string {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // id, controllers, path
		if len(f) < 3 {
			continue
		}
		kind, file := "cgroup2", "/memory.events.local"
		if f[1] != "" {
			kind, file = "cgroup", "/memory.oom_control"
			if !hasWord(f[1], "memory") {
				continue
			}
		}
		for line := range strings.Lines(mounts) {
			root, point, ok := mountOf(line, kind)
			if !ok {
				continue
			}
			below, ok := strings.CutPrefix(f[2], strings.TrimSuffix(root, "/"))
			if path := point + strings.TrimSuffix(below, "/") + file; ok && exists(path) {
				return path
			}
		}
	}
	return ""
}

// mountOf takes apart a line of mountinfo: 36 35 98:0 /root /point rw,noatime
// shared:1 - type source options.
func mountOf(line, kind string) (root, point string, ok bool) {
	left, right, _ := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if len(l) < 5 || len(r) < 1 || r[0] != kind || kind == "cgroup" && !hasWord(r[len(r)-1], "memory") {
		return "", "", false
	}
	return l[3], l[4], true
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}
