package fuzz

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rest says how a thread rests.
type rest int

const (
	awake     rest = iota // running, runnable or stopped
	onSegment             // asleep on a futex word of shared memory: the segment's
	idle                  // asleep in the runtime's own futex, or for a time
	inCall                // asleep in any other system call
)

// restOf looks at one thread of the helper.
func (p *player) restOf(tid int) (rest, string) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", p.pid(), tid))
	if err != nil {
		return awake, "gone"
	}
	f := strings.Fields(string(data))
	if len(f) < 7 {
		return awake, strings.TrimSpace(string(data))
	}
	nr, _ := strconv.Atoi(f[0])
	arg := func(i int) uint64 { v, _ := strconv.ParseUint(f[i], 0, 64); return v }
	switch nr {
	case unix.SYS_FUTEX:
		if arg(2)&privateFutex == 0 {
			return onSegment, "futex" + p.at(arg(1))
		}
		return idle, "futex"
	case unix.SYS_FUTEX_WAITV:
		if a, ok := p.waitv(arg(1), arg(2)); ok {
			return onSegment, "futex_waitv" + p.at(a)
		}
		return inCall, "futex_waitv"
	case unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP:
		return idle, "nanosleep"
	}
	return inCall, fmt.Sprintf("system call %d", nr)
}

// privateFutex is the flag of a futex of one process: the Go runtime's.
const privateFutex = 128

// at says where in the segment an address is. An object that maps the segment's
// file by itself has it elsewhere.
func (p *player) at(addr uint64) string {
	if off := addr - p.addr; off < uint64(p.size) {
		return fmt.Sprintf("(+%#x)", off)
	}
	return fmt.Sprintf("(%#x)", addr)
}

// waitv finds the first word of shared memory that a futex_waitv in the helper
// sleeps on.
func (p *player) waitv(list, n uint64) (addr uint64, ok bool) {
	buf := make([]byte, 24*min(n, 128))
	if len(buf) == 0 {
		return 0, false
	}
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	got, err := unix.ProcessVMReadv(p.pid(), local, []unix.RemoteIovec{{Base: uintptr(list), Len: len(buf)}}, 0)
	if err != nil {
		return 0, false
	}
	for i := 0; i+24 <= got; i += 24 { // val, uaddr, flags, reserved
		if binary.NativeEndian.Uint32(buf[i+16:])&privateFutex == 0 {
			return binary.NativeEndian.Uint64(buf[i+8:]), true
		}
	}
	return 0, false
}

// sleepers counts the helper's threads that sleep on the segment, and says
// whether every thread is at rest, save one that may be stopped by the tracer.
func (p *player) sleepers(except int) (n int, allRest bool, where []string) {
	tids := threadsOf(strconv.Itoa(p.pid()))
	allRest = len(tids) > 0
	for _, s := range tids {
		tid, _ := strconv.Atoi(s)
		if tid == except {
			continue
		}
		switch r, s := p.restOf(tid); r {
		case onSegment:
			n++
			where = append(where, s)
		case awake:
			allRest = false
			where = append(where, s)
		}
	}
	return n, allRest, where
}
