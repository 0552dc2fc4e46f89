package fuzz

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Holdings is what this process holds of the things that outlive a forgotten
// Close: see [Hold]. It does not change.
type Holdings struct {
	// Threads and Goroutines are for those who want to bound them; they are
	// not part of Leaks, for the runtime keeps threads.
	Threads, Goroutines int

	items    map[string]int    // description: how many
	children map[string]string // pid: name, which an exec changes
	names    map[string]string
}

// leakPatience is how long Leaks waits for what ends by itself, such as a
// child that was just killed.
var leakPatience = 5 * time.Second

// Hold writes down the open descriptors and what they lead to, the children,
// dead or alive, the mappings of files that have no other name than a memfd
// or one in /dev/shm, and the names in /dev/shm and of POSIX message queues.
//
// The names are the whole machine's; those of queues can be read only where
// the queues are mounted or this process may mount them. The rest is exact, so
// that other goroutines should be at rest.
func Hold() *Holdings {
	// The runtime's poller keeps two descriptors once it was used.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	h := &Holdings{items: map[string]int{}, children: map[string]string{}, names: namesNow(), Goroutines: runtime.NumGoroutine()}
	h.descriptors()
	h.threadsAndChildren()
	h.mappings()
	return h
}

// Leaks returns what is held now beyond what h has, a line each, or nil. It
// blocks for up to five seconds while there is something, as things end
// asynchronously. Names that another process has open are not held against
// this one, as other tests may run beside it; nor are those that have a living
// process's number in them, and not this one's. A file that nothing leads to any
// more is held as long as the collector has not closed it, and Leaks does not
// ask it to.
func (h *Holdings) Leaks() []string { return h.leaks(func() {}) }

// leaks calls collect before each look but the first.
func (h *Holdings) leaks(collect func()) []string {
	for wait, end := time.Millisecond, time.Now().Add(leakPatience); ; wait *= 2 {
		found := h.beyond(Hold())
		if len(found) == 0 || time.Now().After(end) {
			return found
		}
		time.Sleep(min(wait, 200*time.Millisecond))
		collect()
	}
}

// Leaks lets the test fail if it ends with more than it began with. Call it
// before anything that registers a cleanup, and not in parallel tests.
func Leaks(t testing.TB) {
	t.Helper()
	h := Hold()
	t.Cleanup(func() {
		t.Helper()
		for _, l := range h.Leaks() {
			t.Error("left behind:", l)
		}
	})
}

func (h *Holdings) beyond(now *Holdings) []string {
	var found []string
	for what, n := range now.items {
		if more := n - h.items[what]; more == 1 {
			found = append(found, what)
		} else if more > 1 {
			found = append(found, fmt.Sprintf("%d × %s", more, what))
		}
	}
	for pid, name := range now.children {
		if _, known := h.children[pid]; !known {
			found = append(found, "child "+pid+" ("+name+")")
		}
	}
	var strange []string
	for what := range now.names {
		if _, known := h.names[what]; !known {
			strange = append(strange, what)
		}
	}
	if len(strange) > 0 {
		// Somebody else's may have gone since it was listed, with its holder.
		used, still := heldByOthers(), namesNow()
		for _, what := range strange {
			if _, there := still[what]; there && !used[now.names[what]] && !ofAnother(now.names[what]) {
				found = append(found, what)
			}
		}
	}
	slices.Sort(found)
	return found
}

func (h *Holdings) descriptors() {
	const dir = "/proc/self/fd"
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	own := strconv.Itoa(int(d.Fd()))
	fds, _ := d.Readdirnames(-1)
	for _, fd := range fds {
		if target, err := os.Readlink(dir + "/" + fd); err == nil && fd != own {
			h.items["descriptor "+fd+" to "+target]++
		}
	}
}

func (h *Holdings) threadsAndChildren() {
	h.Threads = len(threadsOf("self"))
	for _, pid := range childrenNow() {
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		h.children[pid] = strings.TrimSpace(string(name))
	}
}

func (h *Holdings) mappings() {
	for _, m := range mapped("self") {
		h.items["mapping of "+m]++
	}
}

// mapped lists the mappings of files without a lasting name in a process.
func mapped(pid string) (files []string) {
	maps, _ := os.ReadFile("/proc/" + pid + "/maps")
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line) // range, mode, offset, device, inode, path
		if len(f) < 6 {
			continue
		}
		path := strings.Join(f[5:], " ")
		for _, prefix := range []string{"/memfd:", "/dev/shm/", "/dev/zero"} {
			if strings.HasPrefix(path, prefix) {
				files = append(files, path+", inode "+f[4])
			}
		}
	}
	return files
}

// namesNow lists the names in /dev/shm and of the POSIX queues of this IPC
// namespace, by what to say of them.
func namesNow() map[string]string {
	names := map[string]string{}
	entries, _ := os.ReadDir("/dev/shm")
	for _, e := range entries {
		names["the name "+e.Name()+" in /dev/shm"] = "/dev/shm/" + e.Name()
	}
	d, err := queueDir()
	if err != nil {
		return names
	}
	defer d.Close()
	queues, _ := d.Readdirnames(-1)
	for _, name := range queues {
		names["the message queue /"+name] = "/" + name
	}
	return names
}

// queueDir opens the queues' file system, through a mount of its own that
// nobody else sees, or where that isn't allowed, through the usual one.
func queueDir() (*os.File, error) {
	const usual = "/dev/mqueue"
	fs, err := unix.Fsopen("mqueue", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.Open(usual)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return os.Open(usual)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return os.Open(usual)
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	return os.NewFile(uintptr(fd), usual), nil
}

var numbers = regexp.MustCompile("[0-9]+")

// ofAnother reports whether a name has a number in it that is a program's, and not
// this one's.
func ofAnother(name string) (yes bool) {
	for _, n := range numbers.FindAllString(name, -1) {
		if n == strconv.Itoa(os.Getpid()) {
			return false
		}
		_, err := os.Readlink("/proc/" + n + "/exe") // the kernel's threads have none
		yes = yes || err == nil
	}
	return yes
}

// heldByOthers is what other processes than this one have open or mapped.
func heldByOthers() map[string]bool {
	held := map[string]bool{}
	self := strconv.Itoa(os.Getpid())
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		pid := filepath.Base(p)
		if pid == self {
			continue
		}
		fds, _ := filepath.Glob(p + "/fd/*")
		for _, fd := range fds {
			if target, err := os.Readlink(fd); err == nil {
				held[target] = true
			}
		}
		for _, m := range mapped(pid) {
			path, _, _ := strings.Cut(m, ", inode ")
			held[path] = true
		}
	}
	return held
}
