package proc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// childInfo is the kernel's siginfo as waitid fills it for a child. The part
// after the three common words starts at a multiple of the size of a pointer.
type childInfo struct {
	_      [3]int32
	_      [(unsafe.Sizeof(uintptr(0)) - 4) / 4]int32
	pid    int32
	uid    uint32
	status int32
}

// childOf returns the fields that unix.Siginfo has no names for.
func childOf(info *unix.Siginfo) (pid, status int) {
	c := (*childInfo)(unsafe.Pointer(info))
	return int(c.pid), int(c.status)
}
