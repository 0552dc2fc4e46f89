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
	userRBP = 4 * 8
	userNR  = 15 * 8 // orig_rax: the system call's number, at its begin and end
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
	ret = t.peek(t.register(userRSP))
	return ret, ret-prev >= 2 && ret-prev <= 15
}

// ourCaller is the address in code of ours that led to where the victim stands, by
// the frame pointers which Go keeps; without one it is that place.
func (t *tracer) ourCaller() uint64 {
	// Who makes system calls has no frame: on top lies his return address.
	ret := t.peek(t.register(userRSP))
	for fp, depth := t.register(userRBP), 0; t.code.classify(ret-1) != ours; depth++ {
		if fp == 0 || depth == 100 {
			return t.pc
		}
		ret, fp = t.peek(fp+8), t.peek(fp)
	}
	return ret - 1
}

// callNumber is that of the system call at whose begin or end the victim stands.
func (t *tracer) callNumber() uint32 { return uint32(t.register(userNR)) }

// register reads one, 0 if it can't be read.
func (t *tracer) register(at uintptr) uint64 {
	if _, err := unix.PtracePeekUser(t.tid, at, t.word[:]); err != nil {
		return 0
	}
	return order.Uint64(t.word[:])
}

// peek reads a word of the victim's memory, 0 if it can't be read.
func (t *tracer) peek(at uint64) uint64 {
	if n, err := unix.PtracePeekData(t.tid, uintptr(at), t.word[:]); n != len(t.word) || err != nil {
		return 0
	}
	return order.Uint64(t.word[:])
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
