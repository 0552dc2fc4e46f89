package pipe

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A message is the argument of recvmsg(2) and sendmsg(2). x/sys has the calls
// too, but allocates for the sender's address, which nobody here asks for, and
// puts a byte of its own into an empty packet that carries descriptors.
type message struct {
	hdr unix.Msghdr
	iov [2]unix.Iovec
}

// recv takes bytes or one packet into a and then b, and what came along with
// them into control: with none, descriptors that a peer attached are closed by
// the kernel. n is a packet's own size, which may be above the room.
func (m *message) recv(fd int, a, b, control []byte, flags int) (n, nControl, gotFlags int, err error) {
	m.set(a, b, control)
	r, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), uintptr(flags|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC))
	nControl, gotFlags = int(m.hdr.Controllen), int(m.hdr.Flags)
	m.clear()
	if errno != 0 {
		return 0, 0, 0, errno
	}
	return int(r), nControl, gotFlags, nil
}

// send sends a and then b, with control.
func (m *message) send(fd int, a, b, control []byte) (int, error) {
	m.set(a, b, control)
	r, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	m.clear()
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

func (m *message) set(a, b, control []byte) {
	k := 0
	for _, p := range [2][]byte{a, b} {
		if len(p) > 0 {
			m.iov[k].Base = unsafe.SliceData(p)
			m.iov[k].SetLen(len(p))
			k++
		}
	}
	m.hdr = unix.Msghdr{Iov: &m.iov[0]}
	m.hdr.SetIovlen(k)
	if len(control) > 0 {
		m.hdr.Control = unsafe.SliceData(control)
		m.hdr.SetControllen(len(control))
	}
}

// clear lets go of callers' memory.
func (m *message) clear() { m.hdr, m.iov = unix.Msghdr{}, [2]unix.Iovec{} }
