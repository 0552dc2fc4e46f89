package proc

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// RefusePidfd makes this package behave as where the kernel, or a seccomp
// filter, refuses a call: "clone", "wait" or "signal". It returns what undoes
// that.
func RefusePidfd(call string) (restore func()) {
	t := map[string]*trial{
		"clone":  &kernel.clonePidfd,
		"wait":   &kernel.waitPidfd,
		"signal": &kernel.signalPidfd,
	}[call]
	t.Store(false)
	return func() { t.Store(true) }
}

const EnvMark = envMark

// RanName is a function that takes struct{} and prints "ran".
const RanName = "ran"

// RequestFile is what a parent hands to a child that runs that function, or a
// program that prints the same, and the mark's value.
func RequestFile(t testing.TB, program_ bool) (*os.File, string) {
	t.Helper()
	r := &request{fn: RanName, name: "n", parent: os.Getpid(), deathSig: unix.SIGKILL}
	if program_ {
		r.fn = ""
		r.shape = (&program{path: "/bin/echo", argv: []string{"echo", "ran"}}).marshal()
	}
	fd, err := sealed("request", r.marshal())
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "request")
	t.Cleanup(func() { f.Close() })
	return f, formatMark(fdFiles - fdRequest)
}

// What reads a cgroup's files.
var (
	FindEvents = findEvents
	OOMKills   = oomKills

	MemoryEvents = memoryEvents
)
