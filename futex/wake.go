package futex

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// All, as the number of waiters to wake or to move, stands for every one.
const All = math.MaxInt32

const maxInt32 = math.MaxInt32

// Wake wakes at most n of those that sleep on addr and returns how many it
// woke. It never blocks. n = 0 wakes nobody (the kernel's own call would wake
// one); a negative n is refused with EINVAL. Any number may call it at once.
func Wake(addr *atomic.Uint32, n int) (int, error) {
	return WakeBitset(addr, n, matchAny)
}

// WakeBitset is [Wake] for the sleepers in [WaitBitset] whose mask has a bit
// in common with mask, and for all that sleep without a mask. A mask of 0 is
// refused with EINVAL.
func WakeBitset(addr *atomic.Uint32, n int, mask uint32) (int, error) {
	if n == 0 {
		return 0, nil
	}
	if n < 0 {
		return 0, invalid("futex_wake", "Wake of %d sleepers, want 0 or more", n)
	}
	if mask == 0 {
		return 0, invalid("futex_wake", "WakeBitset with a mask of 0, want a bit")
	}
	woken, e := futexWake(addr, limit(n), mask)
	if e != 0 {
		return 0, os.NewSyscallError("futex_wake", e)
	}
	return woken, nil
}

// Requeue wakes at most wake sleepers of from and moves at most move of the
// rest to sleep on to, all in one step, if *from still holds old; else it does
// nothing and returns EAGAIN (as *os.SyscallError). It returns how many it
// woke and moved together. Negative numbers are refused with EINVAL.
//
// A signal sends a sleeper that was moved back to from, as the kernel knows no
// better: change *from before, so that it finds that out.
func Requeue(from *atomic.Uint32, wake int, to *atomic.Uint32, move int, old uint32) (int, error) {
	if wake < 0 || move < 0 {
		return 0, invalid("futex_requeue", "Requeue that wakes %d and moves %d, want 0 or more", wake, move)
	}
	n, e := futexRequeue(from, limit(wake), to, limit(move), old)
	if e != 0 {
		return 0, os.NewSyscallError("futex_requeue", e)
	}
	return n, nil
}

// An Op is what [WakeOp] does to its second word, and the test of that word's
// old value which decides whether its sleepers are woken as well.
type Op struct {
	Do     OpCode  // the change
	Arg    int32   // its operand, -2048 to 2047; with Shift 0 to 31
	Shift  bool    // the operand is 1<<Arg instead of Arg
	Cmp    CmpCode // the test
	CmpArg int32   // what the old value is compared with, -2048 to 2047
}

// An OpCode names the change: word = operand, word += operand, and so on.
type OpCode uint8

// The changes that the kernel knows.
const (
	OpSet OpCode = iota
	OpAdd
	OpOr
	OpAndNot
	OpXor
)

// A CmpCode names the comparison of the old value with CmpArg.
type CmpCode uint8

// The comparisons that the kernel knows.
const (
	CmpEqual CmpCode = iota
	CmpNotEqual
	CmpLess
	CmpLessEqual
	CmpGreater
	CmpGreaterEqual
)

// WakeOp changes *addr2 by op in one atomic step, then wakes at most n
// sleepers of addr and, if op's comparison held, at most n2 of addr2. The
// change and the wakes are one system call: a process killed at any moment has
// done all of it or nothing. It returns how many it woke together. Here n and
// n2 must be at least 1, as the kernel takes 0 for 1.
func WakeOp(addr *atomic.Uint32, n int, addr2 *atomic.Uint32, n2 int, op Op) (int, error) {
	if n < 1 || n2 < 1 {
		return 0, invalid("futex_wake_op", "WakeOp of %d and %d sleepers, want 1 or more each", n, n2)
	}
	if err := op.check(); err != nil {
		return 0, err
	}
	woken, e := futexWakeOp(addr, limit(n), addr2, limit(n2), op.encode())
	if e != 0 {
		return 0, os.NewSyscallError("futex_wake_op", e)
	}
	return woken, nil
}

func (o Op) check() error {
	const call, least, most = "futex_wake_op", -1 << 11, 1<<11 - 1
	low, high := int32(least), int32(most)
	if o.Shift {
		low, high = 0, 31
	}
	switch {
	case o.Do > OpXor:
		return invalid(call, "Op.Do is %d, want OpSet (0) to OpXor (%d)", o.Do, OpXor)
	case o.Cmp > CmpGreaterEqual:
		return invalid(call, "Op.Cmp is %d, want CmpEqual (0) to CmpGreaterEqual (%d)", o.Cmp, CmpGreaterEqual)
	case o.Arg < low || o.Arg > high:
		return invalid(call, "Op.Arg is %d, want %d to %d", o.Arg, low, high)
	case o.CmpArg < least || o.CmpArg > most:
		return invalid(call, "Op.CmpArg is %d, want %d to %d", o.CmpArg, least, most)
	}
	return nil
}

// encode packs as linux/futex.h says: four bits of operation (the top one for
// Shift), four of comparison, twelve for each argument.
func (o Op) encode() uint32 {
	do := uint32(o.Do)
	if o.Shift {
		do |= 8
	}
	const arg = 1<<12 - 1
	return do<<28 | uint32(o.Cmp)<<24 | uint32(o.Arg)&arg<<12 | uint32(o.CmpArg)&arg
}

// limit brings a count, which is not negative, into the kernel's int.
func limit(n int) int32 { return int32(min(n, maxInt32)) }

// invalid is EINVAL of a call that the kernel is not troubled with, and why.
func invalid(call, format string, args ...any) error {
	return fmt.Errorf("futex: %s: %w", fmt.Sprintf(format, args...), os.NewSyscallError(call, unix.EINVAL))
}
