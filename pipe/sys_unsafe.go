package pipe

import (
	"syscall"
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
	r, _, errno := syscall.RawSyscall6(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), uintptr(flags|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC), 0, 0, 0)
	nControl, gotFlags = int(m.hdr.Controllen), int(m.hdr.Flags)
	m.clear()
	if errno != 0 {
		return 0, 0, 0, errno
	}
	return int(r), nControl, gotFlags, nil
}

const sendFlags = unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT

// send sends p and q, with control.
func (m *message) send(fd int, p, q, control []byte) (int, error) {
	if len(control)+len(q) == 0 {
		// sendto(2) has no header to copy in, which is 0.1 µs less.
		r, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), sendFlags, 0, 0)
		return result(r, errno)
	}
	m.set(p, q, control)
	r, _, errno := syscall.RawSyscall6(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), sendFlags, 0, 0, 0)
	m.clear()
	return result(r, errno)
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

// A pipeCaller reads and writes a pipe that doesn't block.
//
// A system call that copies for longer than 20 µs may lose its place to Go's
// scheduler, and coming back takes as long again. So large ones are raw, with
// RWF_NOWAIT, which makes sure that they can't block, whatever a process
// that shares the descriptor does to its O_NONBLOCK. Small ones would be slower
// by it. A FIFO doesn't know the flag, nor does a kernel before 6.4.
//
// Lost: raw small calls on a pipe whose open file nobody else has. They take 50 ns
// less (a trip is 1.13 times C's, not 1.17, a flow of 64 bytes 0.97, not 0.88). But
// a peer that waits for a page in the middle of his copy, as of a file on a server
// that is down, has the pipe's lock meanwhile, and a raw call that waits for that
// holds up the whole program, not its goroutine alone.
type pipeCaller struct{ unknown bool }

// largeCall is the size in bytes from which a call is a large one.
const largeCall = 16 << 10

// read reads into a and then b.
func (p *pipeCaller) read(fd int, a, b []byte) (int, error) {
	if len(a) == 0 {
		a, b = b, nil
	}
	if len(b) == 0 && len(a) < largeCall {
		r, _, errno := syscall.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(len(a)))
		return result(r, errno)
	}
	iov := [2]unix.Iovec{{Base: unsafe.SliceData(a)}, {Base: unsafe.SliceData(b)}}
	iov[0].SetLen(len(a))
	iov[1].SetLen(len(b))
	if len(a)+len(b) >= largeCall && !p.unknown {
		r, _, errno := syscall.RawSyscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 2, ^uintptr(0), ^uintptr(0), unix.RWF_NOWAIT)
		if p.unknown = notOffered(errno); !p.unknown {
			return result(r, errno)
		}
	}
	r, _, errno := syscall.Syscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 2)
	return result(r, errno)
}

func (p *pipeCaller) write(fd int, a []byte) (int, error) {
	if len(a) >= largeCall && !p.unknown {
		iov := unix.Iovec{Base: unsafe.SliceData(a)}
		iov.SetLen(len(a))
		r, _, errno := syscall.RawSyscall6(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, ^uintptr(0), ^uintptr(0), unix.RWF_NOWAIT)
		if p.unknown = notOffered(errno); !p.unknown {
			return result(r, errno)
		}
	}
	r, _, errno := syscall.Syscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(len(a)))
	return result(r, errno)
}

// notOffered says whether a kernel lacks the flag, or the call: containers and
// stand-ins for kernels refuse calls with either of the latter two.
func notOffered(errno unix.Errno) bool {
	return errno == unix.EOPNOTSUPP || errno == unix.ENOSYS || errno == unix.EPERM
}

func result(r uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}
