package mq

import (
	"syscall"
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

// atOnce is a time that is over, as a timespec of either size. The descriptor
// doesn't block; but that is a flag that every process with the same descriptor
// can change, and a call with this time ends even then.
var atOnce [2]int64

// quickCopy is the size in bytes up to which a call is raw: it can't block, and
// unlike an ordinary one costs nothing when Go's scheduler looks. A longer copy
// would keep the scheduler waiting.
const quickCopy = 64 << 10

// mqSend sends or fails with EAGAIN. It never blocks.
func mqSend(fd int, msg []byte, prio uint) error {
	for {
		var errno unix.Errno
		if len(msg) <= quickCopy {
			_, _, errno = syscall.RawSyscall6(unix.SYS_MQ_TIMEDSEND, uintptr(fd), uintptr(pointer(msg)), uintptr(len(msg)), uintptr(prio), uintptr(unsafe.Pointer(&atOnce)), 0)
		} else {
			_, _, errno = syscall.Syscall6(unix.SYS_MQ_TIMEDSEND, uintptr(fd), uintptr(pointer(msg)), uintptr(len(msg)), uintptr(prio), uintptr(unsafe.Pointer(&atOnce)), 0)
		}
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.ETIMEDOUT:
			return unix.EAGAIN
		default:
			return errno
		}
	}
}

// mqReceive is the counterpart of mqSend.
func mqReceive(fd int, buf []byte, prio *uint32) (int, error) {
	for {
		var n uintptr
		var errno unix.Errno
		if len(buf) <= quickCopy {
			n, _, errno = syscall.RawSyscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(pointer(buf)), uintptr(len(buf)), uintptr(unsafe.Pointer(prio)), uintptr(unsafe.Pointer(&atOnce)), 0)
		} else {
			n, _, errno = syscall.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(pointer(buf)), uintptr(len(buf)), uintptr(unsafe.Pointer(prio)), uintptr(unsafe.Pointer(&atOnce)), 0)
		}
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.ETIMEDOUT:
			return 0, unix.EAGAIN
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

// sigevent is the kernel's, of which it reads 64 bytes.
type sigevent struct {
	value  unsafe.Pointer
	signo  int32
	notify int32
	_      [64]byte
}

// sigevThread is SIGEV_THREAD. For the kernel it means: send the cookie that
// value points to to the netlink socket signo.
const sigevThread = 2

// mqNotify registers this process; the kernel copies the cookie.
func mqNotify(fd, sock int, cookie []byte) error {
	e := sigevent{value: pointer(cookie), signo: int32(sock), notify: sigevThread}
	return notify(fd, &e)
}

// mqUnnotify removes the registration, if it is this process's.
func mqUnnotify(fd int) error { return notify(fd, nil) }

func notify(fd int, e *sigevent) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_MQ_NOTIFY, uintptr(fd), uintptr(unsafe.Pointer(e)), 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
