package pipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Listener accepts connections of processes on this machine. It is also a
// [net.Listener], so net/rpc and net/http serve it. Any number of goroutines may
// call its methods at once.
type Listener struct {
	network string
	name    string
	allow   atomic.Pointer[func(Peer) bool]
	st      unix.Stat_t // of the name in the file system

	line
	accepted int // result of an attempt
	err      error
}

var (
	_ net.Listener = (*Listener)(nil)
	_ syscall.Conn = (*Listener)(nil)
)

// Listen makes a local socket with a name and listens there. The network is
// "unix" for Conns as [Pair] makes them, or "unixpacket" for Conns as
// [PacketPair] does. The name is a path of at most 107 bytes, or, beginning
// with @, an abstract name: known to the kernel only, in this network namespace,
// and gone with the Listener.
//
// Only processes of the same user and of root are let in, unless [Listener.Allow]
// says otherwise; the socket in the file system has mode 0600, which os.Chmod
// changes. Close removes it.
//
// Errors: [*os.PathError], such as EADDRINUSE if the name exists. A server
// that was killed leaves its name behind; the error says so if nobody
// listens there, and it is the caller who may remove it.
func Listen(network, name string) (*Listener, error) {
	l, err := listen(network, name)
	if err != nil {
		return nil, &os.PathError{Op: "listen", Path: name, Err: err}
	}
	return l, nil
}

func listen(network, name string) (*Listener, error) {
	fd, err := localSocket(network, name)
	if err != nil {
		return nil, err
	}
	l := &Listener{network: network, name: name}
	if err := bind(fd, name, &l.st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	fail := func(err error) (*Listener, error) {
		l.remove()
		l.line.d.close()
		return nil, err
	}
	l.line.init(newDescriptor(fd), unix.EPOLLIN, l)
	// Peers come seldom: callers wait in the poller at once.
	l.rest, l.until = maxRest, math.MaxInt64
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return fail(os.NewSyscallError("listen", err))
	}
	f, err := l.d.file()
	if err == nil {
		err = l.waitIn(f)
	}
	if err != nil {
		return fail(err)
	}
	return l, nil
}

// localSocket checks the arguments of Listen and Dial and makes a socket.
func localSocket(network, name string) (int, error) {
	typ := unix.SOCK_STREAM
	switch {
	case network == "unixpacket":
		typ = unix.SOCK_SEQPACKET
	case network != "unix":
		return -1, fmt.Errorf("network is %q, neither unix nor unixpacket: %w", network, os.ErrInvalid)
	case name == "" || name == "@":
		return -1, fmt.Errorf("the name is empty: %w", os.ErrInvalid)
	}
	if most := len(unix.RawSockaddrUnix{}.Path) - 1; len(name) > most {
		return -1, fmt.Errorf("a name of %d bytes, a socket's has at most %d: %w", len(name), most, unix.ENAMETOOLONG)
	}
	for i := range len(name) {
		if name[i] == 0 {
			return -1, fmt.Errorf("byte %d of the name is zero: %w", i, os.ErrInvalid)
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fd, os.NewSyscallError("socket", err)
}

// bind gives the socket its name; st tells later whether it still has it.
func bind(fd int, name string, st *unix.Stat_t) error {
	// The mode of the socket is the mode of the name from the beginning.
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	err := unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	switch {
	case err == unix.EADDRINUSE && name[0] != '@' && stale(name):
		return fmt.Errorf("the name exists, but nobody listens there: a server that ended may have left it: %w", err)
	case err != nil:
		return err
	case name[0] == '@':
		return nil
	}
	if err := unix.Lstat(name, st); err != nil {
		unix.Unlink(name) // nobody else will
		return os.NewSyscallError("lstat", err)
	}
	return nil
}

// stale says whether name is a socket that nobody listens at.
func stale(name string) bool {
	if fi, err := os.Lstat(name); err != nil || fi.Mode()&fs.ModeSocket == 0 {
		return false
	}
	for _, network := range []string{"unix", "unixpacket"} {
		fd, err := localSocket(network, name)
		if err != nil {
			return false
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: name})
		unix.Close(fd)
		if err != unix.ECONNREFUSED && err != unix.EPROTOTYPE {
			return false
		}
	}
	return true
}

// remove takes the name away, if it is still this Listener's.
func (l *Listener) remove() {
	var now unix.Stat_t
	if l.name[0] != '@' && unix.Lstat(l.name, &now) == nil && now.Dev == l.st.Dev && now.Ino == l.st.Ino {
		unix.Unlink(l.name)
	}
}

// Allow has f decide which peers are let in: it is asked before a byte of
// theirs is read, and those that it refuses are disconnected. It may be called
// by several goroutines at once. A nil f lets in all.
func (l *Listener) Allow(f func(Peer) bool) {
	if f == nil {
		f = func(Peer) bool { return true }
	}
	l.allow.Store(&f)
}

// AcceptConn waits for a peer that is let in. It blocks until there is one, ctx
// ends, a deadline passes or the Listener is closed; no thread is held.
//
// Errors: ctx.Err(); [os.ErrDeadlineExceeded]; [os.ErrClosed]; EMFILE if the
// process has no descriptors left: the peer then stays in the kernel's queue.
// Any number of goroutines may call it at once.
func (l *Listener) AcceptConn(ctx context.Context) (*Conn, error) {
	if l.d == nil {
		return nil, errNoListener
	}
	for {
		fd, err := l.next(ctx)
		if err != nil {
			return nil, err
		}
		peer, err := peerOf(fd)
		if err != nil || !l.allowed(peer) {
			unix.Close(fd)
			continue
		}
		c := new(Conn)
		if err := c.init(fd); err != nil {
			return nil, err
		}
		return c, nil
	}
}

// next waits for the next peer.
func (l *Listener) next(ctx context.Context) (fd int, err error) {
	mustHave(ctx)
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	if err := l.enter(ctx); err != nil {
		return -1, err
	}
	defer l.leave()
	if err := l.run(ctx); err != nil {
		return -1, err
	}
	return l.accepted, os.NewSyscallError("accept4", l.err)
}

func (l *Listener) allowed(p Peer) bool {
	if f := l.allow.Load(); f != nil {
		return (*f)(p)
	}
	return p.Uid == 0 || p.Uid == os.Geteuid()
}

func (l *Listener) attempt(fd uintptr) bool {
	for {
		l.accepted, _, l.err = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch l.err {
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return false
		default:
			return true
		}
	}
}

// Accept is [Listener.AcceptConn] without a context; the net.Conn is a [*Conn].
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn(context.Background())
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, os.ErrClosed):
		return nil, net.ErrClosed // what servers look for; it is os.ErrClosed too
	}
	return nil, err
}

// SetDeadline sets the time at which every AcceptConn and Accept, now or later,
// ends with [os.ErrDeadlineExceeded]; the zero time means never.
func (l *Listener) SetDeadline(t time.Time) error {
	if l.d == nil {
		return errNoListener
	}
	return l.setUser(t)
}

// Addr returns the name as a [*net.UnixAddr].
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.name, Net: l.network} }

// SyscallConn gives access to the descriptor, for [Select] among others.
func (l *Listener) SyscallConn() (syscall.RawConn, error) {
	if l.d == nil {
		return nil, errNoListener
	}
	return rawConn{l.d}, nil
}

// Close stops listening and removes the name from the file system, unless
// somebody else has taken it. Calls that are blocked return [os.ErrClosed].
// Accepted Conns stay open.
func (l *Listener) Close() error {
	if l.d == nil {
		return errNoListener
	}
	if l.d.closed() {
		return os.ErrClosed
	}
	l.remove()
	return l.d.close(&l.line)
}
