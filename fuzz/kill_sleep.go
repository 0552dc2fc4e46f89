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
	onSegment             // asleep on a futex word of the segment
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
	case unix.SYS_FUTEX, unix.SYS_FUTEX_WAIT:
		if off := arg(1) - p.addr; off < uint64(p.size) {
			return onSegment, fmt.Sprintf("futex(+%#x)", off)
		}
		return idle, "futex"
	case unix.SYS_FUTEX_WAITV:
		for _, a := range p.waitv(arg(1), arg(2)) {
			if off := a - p.addr; off < uint64(p.size) {
				return onSegment, fmt.Sprintf("futex_waitv(+%#x)", off)
			}
		}
		return inCall, "futex_waitv"
	case unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP:
		return idle, "nanosleep"
	}
	return inCall, fmt.Sprintf("system call %d", nr)
}

// waitv reads the addresses that a futex_waitv in the helper sleeps on.
func (p *player) waitv(list, n uint64) []uint64 {
	buf := make([]byte, 24*min(n, 128))
	if len(buf) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	got, err := unix.ProcessVMReadv(p.pid(), local, []unix.RemoteIovec{{Base: uintptr(list), Len: len(buf)}}, 0)
	if err != nil {
		return nil
	}
	var addrs []uint64
	for i := 0; i+24 <= got; i += 24 { // val, uaddr, flags, reserved
		addrs = append(addrs, binary.NativeEndian.Uint64(buf[i+8:]))
	}
	return addrs
}

// sleepers counts the helper's threads that sleep on the segment, and says
// whether every thread is at rest, save one that may be stopped by the tracer.
func (p *player) sleepers(except int) (n int, allRest bool, where []string) {
	dir, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid()))
	if err != nil {
		return 0, false, nil
	}
	allRest = true
	for _, e := range dir {
		tid, _ := strconv.Atoi(e.Name())
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
