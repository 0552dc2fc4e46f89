package pipe

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A mode is what a descriptor can do. It is read from the descriptor itself, so
// that a child which was handed nothing else knows as much as its parent.
type mode struct {
	socket   bool // else a pipe or FIFO
	local    bool // a socket that descriptors can travel over
	packet   bool // the kernel keeps the boundaries
	datagram bool // packets without an end of the stream
	read     bool
	write    bool
}

// packetPipeMax is what a pipe opened with O_DIRECT takes as one packet
// (PIPE_BUF).
const packetPipeMax = 4096

// Pair returns two connected ends, each of which sends and receives messages of
// any size (a socketpair of type SOCK_STREAM, framed). Errors are of the system
// call: EMFILE if the process has no descriptors left.
func Pair() (a, b *Conn, err error) { return socketpair(unix.SOCK_STREAM) }

// PacketPair is [Pair] with the boundaries kept by the kernel (SOCK_SEQPACKET):
// several processes can share one end, and a message is at most as large as the
// socket's send buffer. Its sockets have SO_TIMESTAMP set, by which an empty
// message is told from the end: a program in another language that wants
// descriptors has to look past a time stamp among the control messages.
func PacketPair() (a, b *Conn, err error) { return socketpair(unix.SOCK_SEQPACKET) }

func socketpair(typ int) (a, b *Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return both(fds)
}

// OneWay returns the two ends of a pipe: what w sends, r receives, as framed
// messages of any size. Errors are of the system call: EMFILE if the process has
// no descriptors left.
func OneWay() (r, w *Conn, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	return both(fds)
}

func both(fds [2]int) (*Conn, *Conn, error) {
	a, b := new(Conn), new(Conn)
	if err := a.init(fds[0]); err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	if err := b.init(fds[1]); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// FromFile makes a Conn of a pipe, FIFO or connected socket that other code
// opened, and takes ownership of f: f is closed, its descriptor lives on in
// the Conn and is set to non-blocking, which all who share it see. Whether the
// Conn is framed or leaves the boundaries to the kernel (SOCK_SEQPACKET,
// SOCK_DGRAM, a pipe with O_DIRECT), and which directions it has, is read from
// the descriptor. A SOCK_DGRAM socket has no end of the stream. pipe2 marks only
// the sending end with O_DIRECT; whoever wants packets sets it on the receiving
// end too (F_SETFL).
//
// Errors: [os.ErrInvalid] for what is none of these; f is then left as it was.
func FromFile(f *os.File) (*Conn, error) {
	c := new(Conn)
	if err := c.take(f); err != nil {
		return nil, err
	}
	return c, nil
}

// take initializes c with f's descriptor. It works on a duplicate: the os.File
// itself might set the descriptor to blocking when its Fd is asked for.
func (c *Conn) take(f *os.File) error {
	if f == nil {
		return fmt.Errorf("pipe: no file: %w", os.ErrInvalid)
	}
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	var dupErr error
	err = rc.Control(func(old uintptr) {
		// From 3 up, so that it can't become a standard stream.
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3)
	})
	if err != nil {
		return os.ErrClosed
	}
	if dupErr != nil {
		return os.NewSyscallError("fcntl", dupErr)
	}
	if err := c.init(fd); err != nil {
		return err
	}
	f.Close()
	return nil
}

// init makes c a Conn over fd, which it owns: an error closes it.
func (c *Conn) init(fd int) error {
	m, err := describe(fd)
	if err == nil {
		err = os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	if m.packet && m.socket && !m.datagram {
		// recvmsg returns 0 for an empty packet and for the end. With a time
		// stamp wanted and no room for it, a packet sets MSG_CTRUNC, the end
		// doesn't. Should the option be missing, an empty packet reads as the
		// end.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1)
	}
	c.d, c.mode = newDescriptor(fd), m
	c.in.mode, c.out.mode = m, m
	c.in.init(c.d, unix.EPOLLIN|unix.EPOLLRDHUP, &c.in)
	c.out.init(c.d, unix.EPOLLOUT, &c.out)
	return nil
}

// describe reads a descriptor's mode.
func describe(fd int) (m mode, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return m, os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return m, os.NewSyscallError("fcntl", err)
		}
		m.packet = flags&unix.O_DIRECT != 0
		m.read = flags&unix.O_ACCMODE != unix.O_WRONLY
		m.write = flags&unix.O_ACCMODE != unix.O_RDONLY
		return m, nil
	case unix.S_IFSOCK:
		m.socket, m.read, m.write = true, true, true
		typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		if err != nil {
			return m, os.NewSyscallError("getsockopt", err)
		}
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return m, os.NewSyscallError("getsockopt", err)
		}
		m.local = domain == unix.AF_UNIX
		if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && n != 0 {
			return m, fmt.Errorf("pipe: the socket listens, it is not connected: %w", os.ErrInvalid)
		}
		switch typ {
		case unix.SOCK_STREAM:
		case unix.SOCK_SEQPACKET:
			m.packet = true
		case unix.SOCK_DGRAM:
			m.packet, m.datagram = true, true
		default:
			return m, fmt.Errorf("pipe: socket of type %d: %w", typ, os.ErrInvalid)
		}
		return m, nil
	}
	return m, fmt.Errorf("pipe: neither pipe, FIFO nor socket (file type %#o): %w", st.Mode&unix.S_IFMT, os.ErrInvalid)
}

const maxPipe = 1 << 31 // bytes, for the kernel

// SetSize asks the kernel for a pipe that holds at least bytes bytes and returns
// what it got: a power of two. If nobody asks a pipe holds 64 KiB, and 256 KiB
// once a Conn has sent a message of 16 KiB or more through it; large pipes carry
// large messages up to three times as fast. A Conn leaves alone what SetSize has
// set.
//
// Errors: EINVAL below 0 or above 2^31; EPERM above fs.pipe-max-size; EBUSY if more than that is in the pipe
// just now; EBADF for a socket, which has no such size.
func SetSize(c syscall.Conn, bytes int) (int, error) {
	// The kernel takes the low 32 bits of it.
	if bytes < 0 || int64(bytes) > maxPipe {
		return 0, fmt.Errorf("pipe: SetSize to %d bytes, want 0 to %d: %w", bytes, int64(maxPipe), os.NewSyscallError("fcntl", unix.EINVAL))
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if conn, ok := c.(*Conn); ok {
		conn.out.sized.Store(true)
	}
	var n int
	var serr error
	if err := rc.Control(func(fd uintptr) { n, serr = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, bytes) }); err != nil {
		return 0, os.ErrClosed
	}
	switch {
	case errors.Is(serr, unix.EPERM):
		return 0, fmt.Errorf("pipe: %d bytes are above fs.pipe-max-size (now %s), or this user's pipes have more pages than fs.pipe-user-pages-soft (now %s); sysctl -w raises them: %w",
			bytes, setting("pipe-max-size"), setting("pipe-user-pages-soft"), os.NewSyscallError("fcntl", serr))
	case errors.Is(serr, unix.EBUSY):
		return 0, fmt.Errorf("pipe: more than %d bytes wait in the pipe: %w", bytes, os.NewSyscallError("fcntl", serr))
	case errors.Is(serr, unix.EBADF):
		return 0, fmt.Errorf("pipe: SetSize of what is no pipe and no FIFO: %w", os.NewSyscallError("fcntl", serr))
	case serr != nil:
		return 0, os.NewSyscallError("fcntl", serr)
	}
	return n, nil
}

// setting reads a limit of the machine, for errors.
func setting(name string) string {
	b, err := os.ReadFile("/proc/sys/fs/" + name)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
