package pipe

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A message is the argument of recvmsg(2). x/sys has the call too, but
// allocates for the sender's address, which nobody here asks for.
type message struct {
	hdr unix.Msghdr
	iov [2]unix.Iovec
}

// recv takes one packet into a and then b. n is the packet's own size, which may
// be above the room. There is no room for control messages: descriptors that a
// peer attached are closed by the kernel.
func (m *message) recv(fd int, a, b []byte) (n, flags int, err error) {
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
	r, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_TRUNC|unix.MSG_DONTWAIT)
	flags = int(m.hdr.Flags)
	m.hdr, m.iov = unix.Msghdr{}, [2]unix.Iovec{} // don't keep callers' memory alive
	if errno != 0 {
		return 0, 0, errno
	}
	return int(r), flags, nil
}
