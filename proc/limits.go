package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Unlimited in a field of [Limits] takes a limit away. The kernel refuses that to
// a process without privileges that has a hard limit itself.
const Unlimited = math.MaxInt64

// Limits are bounds on what one process may use, as setrlimit(2) has them: each
// process that the child starts has the same anew, but for Processes. A field
// that is 0 changes nothing. Soft and hard limits become equal, so the child
// can't raise them again.
//
// In a function's process they hold from [Dispatch] on, before the argument is
// decoded. A program is started through a copy of this one, which sets the
// limits in itself and then becomes the program: that takes the time of a
// function's start, and needs Dispatch in main.
type Limits struct {
	// CPU is the CPU time, rounded up to seconds. At its end SIGXCPU is sent,
	// which ends a program but not a Go program, and SIGKILL a second later.
	CPU time.Duration

	AddressSpace int64 // bytes of all mappings; Go's reserves are hundreds of MiB
	Data         int64 // bytes of private writable mappings; from Linux 6.12 on not Go's heap
	Stack        int64 // bytes of the main thread's stack
	FileSize     int64 // bytes that a file may have after a write
	Core         int64 // bytes of a core dump; 1: none
	Locked       int64 // bytes that mlock may hold
	Files        int64 // one more than the largest descriptor
	Processes    int64 // threads of the child's user, in all; not for root
}

type rlimit struct {
	resource int
	name     string
	value    int64
}

func (l *Limits) list() []rlimit {
	return []rlimit{
		{unix.RLIMIT_CPU, "CPU", int64(l.CPU)},
		{unix.RLIMIT_AS, "AddressSpace", l.AddressSpace},
		{unix.RLIMIT_DATA, "Data", l.Data},
		{unix.RLIMIT_STACK, "Stack", l.Stack},
		{unix.RLIMIT_FSIZE, "FileSize", l.FileSize},
		{unix.RLIMIT_CORE, "Core", l.Core},
		{unix.RLIMIT_MEMLOCK, "Locked", l.Locked},
		{unix.RLIMIT_NOFILE, "Files", l.Files},
		{unix.RLIMIT_NPROC, "Processes", l.Processes},
	}
}

// marshal returns the limits that are set, as pairs of uvarints.
func (l *Limits) marshal() (b []byte, err error) {
	if *l == (Limits{}) {
		return nil, nil
	}
	for _, r := range l.list() {
		if r.value < 0 {
			return nil, fmt.Errorf("field Limits.%s is %d: want 0 (for no change) or more", r.name, r.value)
		}
		if r.value == 0 {
			continue
		}
		if r.name == "CPU" && r.value != Unlimited {
			r.value = (r.value-1)/int64(time.Second) + 1
		}
		b = binary.AppendUvarint(b, uint64(r.resource))
		b = binary.AppendUvarint(b, uint64(r.value))
	}
	return b, nil
}

// setLimits binds this process by what marshal returned. It allocates nothing
// unless it fails.
func setLimits(b []byte) error {
	for len(b) > 0 {
		resource, n := binary.Uvarint(b)
		value, m := binary.Uvarint(b[max(n, 0):])
		if n <= 0 || m <= 0 {
			return errors.New("malformed limits")
		}
		b = b[n+m:]
		lim := unix.Rlimit{Cur: value, Max: value}
		switch {
		case value == Unlimited:
			lim = unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		case resource == unix.RLIMIT_CPU:
			lim.Max++
		}
		if err := unix.Setrlimit(int(resource), &lim); err != nil {
			return refusedLimit(int(resource), value, os.NewSyscallError("setrlimit", err))
		}
	}
	return nil
}

// refusedLimit says which limit can't be set, and what is in its way.
func refusedLimit(resource int, value uint64, err error) error {
	why := ""
	var now unix.Rlimit
	if errors.Is(err, unix.EPERM) && unix.Getrlimit(resource, &now) == nil {
		why = fmt.Sprintf(" (this process has %s, and needs CAP_SYS_RESOURCE for more)", limitText(resource, now.Max))
		most, ferr := os.ReadFile("/proc/sys/fs/nr_open")
		if n, perr := strconv.ParseUint(strings.TrimSpace(string(most)), 10, 64); resource == unix.RLIMIT_NOFILE && ferr == nil && perr == nil && value > n {
			why = fmt.Sprintf(" (at most %d, which sysctl fs.nr_open raises)", n)
		}
	}
	return fmt.Errorf("field Limits.%s is %s%s: %w", limitName(resource), limitText(resource, value), why, err)
}

func limitText(resource int, value uint64) string {
	switch {
	case value == Unlimited || value == unix.RLIM_INFINITY:
		return "Unlimited"
	case resource == unix.RLIMIT_CPU:
		return fmt.Sprintf("%ds", value)
	}
	return fmt.Sprint(value)
}

func limitName(resource int) string {
	for _, r := range new(Limits).list() {
		if r.resource == resource {
			return r.name
		}
	}
	return fmt.Sprint(resource)
}
