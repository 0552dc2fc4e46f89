package fuzz

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// threadTries bounds how often a list is read where threads come and go all the time.
const threadTries = 100

// threadsOf lists a process's threads. The kernel's list ends early where it meets
// a thread that dies under it, so that it is read until it has as many as there
// were before: the directory's links, but for two. A new one stands at the end.
func threadsOf(pid string) (tids []string) {
	dir := "/proc/" + pid + "/task"
	for range threadTries {
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil {
			return nil
		}
		tids = tids[:0]
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			tids = append(tids, e.Name())
		}
		if len(tids) >= int(st.Nlink)-2 {
			break
		}
	}
	return tids
}

// Poke sends sig to each thread of a process, as SIGURG, which the Go runtime takes
// for its own: one for the process as a whole goes to its first thread nearly always,
// and whoever sleeps on another one sees none. What it can't send it does not; a
// thread that comes meanwhile may be left out.
func Poke(pid int, sig unix.Signal) {
	for _, name := range threadsOf(strconv.Itoa(pid)) {
		if tid, err := strconv.Atoi(name); err == nil {
			unix.Tgkill(pid, tid, sig)
		}
	}
}

// childrenNow lists the children of this process, thread by thread. Those of a
// thread that ends go to another, which may have been read already: two lists in a
// row must agree.
func childrenNow() (pids []string) {
	for try := range threadTries {
		var now []string
		for _, tid := range threadsOf("self") {
			list, _ := os.ReadFile("/proc/self/task/" + tid + "/children")
			now = append(now, strings.Fields(string(list))...)
		}
		if try > 0 && slices.Equal(now, pids) {
			break
		}
		pids = now
	}
	return pids
}
