package pipe

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Peer is who was at the other end when the connection was made: the caller of
// Dial, Listen or Pair. The kernel vouches for it. If the Conn has been passed
// on since, somebody else may use it now.
type Peer struct {
	Pid int // 0 if this process's PID namespace doesn't have it
	Uid int // effective
	Gid int // effective
}

// Peer returns who is at the other end of a local socket (SO_PEERCRED).
//
// A PID alone may belong to another process by the time it is used:
// [Conn.PeerFile] is sure. Errors: EOPNOTSUPP if c isn't a local socket;
// [os.ErrClosed].
func (c *Conn) Peer() (p Peer, err error) {
	if err := c.ready(true, ""); err != nil {
		return p, err
	}
	if !c.mode.local {
		return p, fmt.Errorf("pipe: only a local socket knows its peer: %w", os.NewSyscallError("getsockopt", unix.EOPNOTSUPP))
	}
	if c.d.control(func(fd uintptr) { p, err = peerOf(int(fd)) }) != nil {
		return p, os.ErrClosed
	}
	return p, err
}

func peerOf(fd int) (Peer, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, os.NewSyscallError("getsockopt", err)
	}
	return Peer{Pid: int(u.Pid), Uid: int(u.Uid), Gid: int(u.Gid)}, nil
}

// PeerFile returns a pidfd of the process that [Conn.Peer] names
// (SO_PEERPIDFD). It stands for that process for ever, and for no other when
// the PID is used again: it can be waited for with [Select] and signalled with
// pidfd_send_signal(2). The caller closes it.
//
// Errors: those of Peer; ENOPROTOOPT before Linux 6.5; ESRCH or EINVAL, before
// Linux 6.16, for a process that has been waited for.
func (c *Conn) PeerFile() (*os.File, error) {
	if _, err := c.Peer(); err != nil {
		return nil, err
	}
	pidfd := -1
	var err error
	if c.d.control(func(fd uintptr) { pidfd, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD) }) != nil {
		return nil, os.ErrClosed
	}
	switch {
	case errors.Is(err, unix.ENOPROTOOPT):
		return nil, fmt.Errorf("pipe: the pidfd of a peer needs Linux 6.5: %w", os.NewSyscallError("getsockopt", err))
	case err != nil:
		return nil, os.NewSyscallError("getsockopt", err)
	}
	return os.NewFile(uintptr(pidfd), "pidfd"), nil
}
