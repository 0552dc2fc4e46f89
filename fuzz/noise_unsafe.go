package fuzz

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigevent is the kernel's: 64 bytes, of which a signal needs three fields.
type sigevent struct {
	value         uintptr
	signo, notify int32
	_             [64 - 8 - unsafe.Sizeof(uintptr(0))]byte
}

// profTimer makes a timer of this process's CPU time that sends SIGPROF. Unlike
// one of setitimer(2) it ends with an exec, and what it had sent with it: the
// signal kills a program that doesn't expect it.
func profTimer(every time.Duration) error {
	ev := sigevent{signo: int32(unix.SIGPROF)} // SIGEV_SIGNAL is 0
	var id int32
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_PROCESS_CPUTIME_ID,
		uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&id))); errno != 0 {
		return os.NewSyscallError("timer_create", errno)
	}
	ts := unix.NsecToTimespec(every.Nanoseconds())
	spec := [2]unix.Timespec{ts, ts}
	if _, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(id), 0,
		uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 {
		return os.NewSyscallError("timer_settime", errno)
	}
	return nil
}
