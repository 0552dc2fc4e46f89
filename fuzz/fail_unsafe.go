package fuzz

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bindThread puts the calling thread under a filter, sends the listener with
// data through control, and waits for a byte that says that it is served.
// Between these nothing may be called that the filter hands over.
func bindThread(control int, data []byte, filter []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	oob := unix.UnixRights(0)
	iov := unix.Iovec{Base: &data[0]}
	iov.SetLen(len(data))
	msg := unix.Msghdr{Iov: &iov, Control: &oob[0]}
	msg.SetIovlen(1)
	msg.SetControllen(len(oob))
	right := (*int32)(unsafe.Pointer(&oob[unix.CmsgLen(0)]))
	var answer [1]byte
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&iov)
	pin.Pin(&data[0])
	pin.Pin(&oob[0])
	pin.Pin(&filter[0])

	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	flags := uintptr(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	listener, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno == unix.EINVAL { // before Linux 5.19
		flags &^= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
		listener, _, errno = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	}
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	*right = int32(listener)
	for {
		_, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(control), uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL)
		if errno != unix.EINTR {
			break
		}
	}
	for errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_READ, uintptr(control), uintptr(unsafe.Pointer(&answer[0])), 1)
		if errno != unix.EINTR {
			break
		}
		errno = 0
	}
	if errno != 0 {
		panic("fuzz: the refuser is gone: " + errno.Error()) // what is bound can't go on
	}
	// The helper has it, and does not count what it spares: close.
	unix.RawSyscall(unix.SYS_CLOSE, listener, 0, 0)
	return nil
}

// notified is a system call that waits for an answer: struct seccomp_notif.
type notified struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

// nextCall takes the next call; false: the caller was interrupted before.
func nextCall(listener int) (c notified, ok bool) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&c)))
	return c, errno == 0
}

// reply lets the call through, or refuses it.
func (c *notified) reply(listener int, errno syscall.Errno) {
	answer := struct { // struct seccomp_notif_resp
		id    uint64
		val   int64
		error int32
		flags uint32
	}{id: c.id, error: -int32(errno)}
	if errno == 0 {
		answer.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	}
	unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer)))
}
