package fuzz

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// whyNoTrace is empty where the tracer knows the machine.
const whyNoTrace = ""

// Offsets in the kernel's struct user.
const (
	userRIP = 16 * 8
	userRSP = 19 * 8
	userDR0 = 848
	userDR7 = userDR0 + 7*8
)

var order = binary.LittleEndian

// loadPC reads where the victim stands.
func (t *tracer) loadPC() (err error) {
	if _, err = unix.PtracePeekUser(t.tid, userRIP, t.word[:]); err != nil {
		return os.NewSyscallError("ptrace(PEEKUSER)", err)
	}
	t.pc = order.Uint64(t.word[:])
	return nil
}

// calledFrom returns the address that the function at pc returns to, if the
// instruction at prev has just called it.
func (t *tracer) calledFrom(prev uint64) (ret uint64, ok bool) {
	if _, err := unix.PtracePeekUser(t.tid, userRSP, t.word[:]); err != nil {
		return 0, false
	}
	if _, err := unix.PtracePeekData(t.tid, uintptr(order.Uint64(t.word[:])), t.word[:]); err != nil {
		return 0, false
	}
	ret = order.Uint64(t.word[:])
	return ret, ret-prev >= 2 && ret-prev <= 15
}

// isSyscall says whether the instruction at pc enters the kernel.
func (t *tracer) isSyscall(pc uint64) bool {
	_, err := unix.PtracePeekText(t.tid, uintptr(pc), t.word[:2])
	return err != nil || t.word[0] == 0x0f && t.word[1] == 0x05
}

// setBreaks makes this thread stop before the instructions at up to four
// addresses, by debug registers: a trap in the text would hit the victim's
// other threads. Whoever is resumed from such a stop does not stop there again:
// the kernel sets the resume flag.
func (t *tracer) setBreaks(addrs ...uint64) error {
	var enable uint64
	for i, addr := range addrs {
		order.PutUint64(t.word[:], addr)
		if _, err := unix.PtracePokeUser(t.tid, userDR0+uintptr(i)*8, t.word[:]); err != nil {
			return os.NewSyscallError("ptrace(POKEUSER)", err)
		}
		enable |= 1 << (2 * i)
	}
	return t.enableBreaks(enable)
}

func (t *tracer) clearBreaks() error { return t.enableBreaks(0) }

func (t *tracer) enableBreaks(dr7 uint64) error {
	order.PutUint64(t.word[:], dr7)
	_, err := unix.PtracePokeUser(t.tid, userDR7, t.word[:])
	return os.NewSyscallError("ptrace(POKEUSER)", err)
}
