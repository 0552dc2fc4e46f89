package futex

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of futex(2), from linux/futex.h. The shared variants are used
// everywhere but for the words that cancel a wait, which nobody else maps.
const (
	opWake       = 1
	opCmpRequeue = 4
	opWakeOp     = 5
	opWaitBitset = 9
	opWakeBitset = 10
	opPrivate    = 128

	matchAny = ^uint32(0)
)

// fixed makes the compiler put a word of Go memory on the heap. The kernel knows
// a word by its address, and a stack moves when it grows.
func fixed(addr *atomic.Uint32) {
	if never {
		wordSink = addr
	}
}

var (
	never    bool
	wordSink *atomic.Uint32 //lint:ignore U1000 nobody need read it
)

// futexWait sleeps while addr holds old, until a wake whose mask meets this
// one, or the absolute time ts. It blocks its thread, so it goes through the
// scheduler (Syscall6); the calls that can't block use RawSyscall6.
func futexWait(addr *atomic.Uint32, old uint32, ts *unix.Timespec, mask uint32) unix.Errno {
	fixed(addr)
	_, _, e := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), opWaitBitset,
		uintptr(old), uintptr(unsafe.Pointer(ts)), 0, uintptr(mask))
	return e
}

func futexWake(addr *atomic.Uint32, n int32, mask uint32) (int, unix.Errno) {
	fixed(addr)
	r, _, e := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), opWakeBitset,
		uintptr(n), 0, 0, uintptr(mask))
	return int(r), e
}

func futexWakePrivate(addr *atomic.Uint32) {
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), opWake|opPrivate, 1, 0, 0, 0)
}

func futexRequeue(from *atomic.Uint32, wake int32, to *atomic.Uint32, move int32, old uint32) (int, unix.Errno) {
	fixed(from)
	fixed(to)
	r, _, e := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(from)), opCmpRequeue,
		uintptr(wake), uintptr(move), uintptr(unsafe.Pointer(to)), uintptr(old))
	return int(r), e
}

func futexWakeOp(addr *atomic.Uint32, n int32, addr2 *atomic.Uint32, n2 int32, op uint32) (int, unix.Errno) {
	fixed(addr)
	fixed(addr2)
	r, _, e := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), opWakeOp,
		uintptr(n), uintptr(n2), uintptr(unsafe.Pointer(addr2)), uintptr(op))
	return int(r), e
}

// waitvEntry is the kernel's struct futex_waitv.
type waitvEntry struct {
	val   uint64
	addr  uint64
	flags uint32
	_     uint32
}

const (
	sizeU32      = 2 // FUTEX2_SIZE_U32
	maxWaitWords = 128
)

func (e *waitvEntry) set(addr *atomic.Uint32, old uint32, private bool) {
	fixed(addr)
	e.val, e.addr, e.flags = uint64(old), uint64(uintptr(unsafe.Pointer(addr))), sizeU32
	if private {
		e.flags |= opPrivate
	}
}

// futexWaitv sleeps on all of v until one of them is woken, and returns that
// one's index, or until the absolute time ts. When several were woken, it is
// the last. The caller keeps the words alive.
func futexWaitv(v []waitvEntry, ts *unix.Timespec) (int, unix.Errno) {
	var at *[2]int64 // the kernel's 64-bit timespec, on every machine
	if ts != nil {
		at = &[2]int64{int64(ts.Sec), int64(ts.Nsec)}
	}
	r, _, e := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(unsafe.SliceData(v))),
		uintptr(len(v)), 0, uintptr(unsafe.Pointer(at)), unix.CLOCK_MONOTONIC, 0)
	return int(r), e
}

// haveWaitv is tried, once: with no words the call says EINVAL where it
// exists, ENOSYS in an older kernel, EPERM behind some seccomp filters.
var haveWaitv = sync.OnceValue(func() bool {
	_, _, e := unix.RawSyscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0)
	return e == unix.EINVAL
})
