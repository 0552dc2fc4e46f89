package pipe

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// pipeAddr is the address of what has none.
type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// LocalAddr returns the address of this end: a [*net.UnixAddr] for a local
// socket, else one whose network is "pipe". It is never nil.
func (c *Conn) LocalAddr() net.Addr { return c.addr(unix.Getsockname) }

// RemoteAddr returns the address of the peer, as LocalAddr does.
func (c *Conn) RemoteAddr() net.Addr { return c.addr(unix.Getpeername) }

func (c *Conn) addr(get func(int) (unix.Sockaddr, error)) net.Addr {
	if c.d == nil || !c.mode.socket {
		return pipeAddr{}
	}
	var sa unix.Sockaddr
	_ = c.d.control(func(fd uintptr) { sa, _ = get(int(fd)) }) // nil once closed
	network := "unix"
	switch {
	case c.mode.datagram:
		network = "unixgram"
	case c.mode.packet:
		network = "unixpacket"
	}
	switch sa := sa.(type) {
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: network}
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)))
	case *unix.SockaddrInet6:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)))
	}
	return &net.UnixAddr{Net: network}
}
