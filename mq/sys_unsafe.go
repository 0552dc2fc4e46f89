package mq

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelAttr is the kernel's struct mq_attr: C's long is Go's int on Linux.
type kernelAttr struct {
	flags    int
	maxmsg   int
	msgsize  int
	curmsgs  int
	reserved [4]int
}

// none is what empty messages point to.
var none byte

func pointer(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return unsafe.Pointer(&none)
	}
	return unsafe.Pointer(unsafe.SliceData(b))
}

// mqOpen opens a queue. The kernel's names have no leading slash; C libraries
// take it off as well. attr may be nil.
func mqOpen(name string, flags int, mode uint32, attr *kernelAttr) (int, error) {
	p, err := unix.BytePtrFromString(name[1:])
	if err != nil {
		return -1, err
	}
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags), uintptr(mode), uintptr(unsafe.Pointer(attr)), 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

func mqUnlink(name string) error {
	p, err := unix.BytePtrFromString(name[1:])
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// mqSend sends without a timeout: the descriptor doesn't block.
func mqSend(fd int, msg []byte, prio uint) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDSEND, uintptr(fd), uintptr(pointer(msg)), uintptr(len(msg)), uintptr(prio), 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// mqReceive is the counterpart of mqSend.
func mqReceive(fd int, buf []byte, prio *uint32) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(pointer(buf)), uintptr(len(buf)), uintptr(unsafe.Pointer(prio)), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func mqGetAttr(fd int) (kernelAttr, error) {
	var a kernelAttr
	_, _, errno := unix.Syscall(unix.SYS_MQ_GETSETATTR, uintptr(fd), 0, uintptr(unsafe.Pointer(&a)))
	if errno != 0 {
		return a, errno
	}
	return a, nil
}
