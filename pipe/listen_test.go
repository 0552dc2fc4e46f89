package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// listeners runs f for both networks and both kinds of names.
func listeners(t *testing.T, f func(t *testing.T, l *pipe.Listener, network, name string)) {
	for _, network := range []string{"unix", "unixpacket"} {
		for _, kind := range []string{"path", "abstract"} {
			t.Run(network+"/"+kind, func(t *testing.T) {
				name := filepath.Join(t.TempDir(), "socket")
				if kind == "abstract" {
					name = "@" + name
				}
				l, err := pipe.Listen(network, name)
				must(t, err)
				defer l.Close()
				f(t, l, network, name)
			})
		}
	}
}

// connect returns both ends of a connection.
func connect(t testing.TB, l *pipe.Listener) (s, r *pipe.Conn) {
	t.Helper()
	s, err := pipe.Dial(bg, l.Addr().Network(), l.Addr().String())
	must(t, err)
	within(t, "AcceptConn", func() { r, err = l.AcceptConn(bg) })
	must(t, err)
	closeAfter(t, s, r)
	return s, r
}

func TestListen(t *testing.T) {
	listeners(t, func(t *testing.T, l *pipe.Listener, network, name string) {
		s, r := connect(t, l)
		for _, size := range []int{0, 1, 5000, 100_000} {
			msg := bytes.Repeat([]byte("m"), size)
			go s.Send(bg, msg)
			var got []byte
			var err error
			within(t, "RecvAlloc", func() { got, err = r.RecvAlloc(bg, size) })
			if err != nil || !bytes.Equal(got, msg) {
				t.Errorf("%d bytes of %d, %v", len(got), size, err)
			}
		}
		files := tagged(t, 1, 2)
		must(t, r.SendFiles(bg, []byte("f"), files...))
		closeFiles(files)
		_, files, err := s.RecvFiles(bg, make([]byte, 1), 2)
		must(t, err)
		wantTags(t, files, 1, 2)
		if a := r.LocalAddr(); a.String() != name || a.Network() != network {
			t.Errorf("LocalAddr is %v of %v", a, a.Network())
		}
		if a := s.RemoteAddr(); a.String() != name {
			t.Errorf("RemoteAddr is %v", a)
		}
		_, err = pipe.Listen(network, name)
		wantErr(t, "second Listen", err, unix.EADDRINUSE)
		if strings.Contains(err.Error(), "nobody listens") {
			t.Error(err)
		}
		_, err = l.AcceptConn(ended())
		wantErr(t, "AcceptConn", err, context.Canceled)
		if name[0] != '@' {
			fi, err := os.Stat(name)
			must(t, err)
			if fi.Mode().Perm() != 0o600 {
				t.Errorf("mode %v", fi.Mode())
			}
		}
		must(t, l.Close())
		wantErr(t, "second Close", l.Close(), os.ErrClosed)
		_, err = l.AcceptConn(bg)
		wantErr(t, "AcceptConn", err, os.ErrClosed)
		_, err = l.Accept()
		wantErr(t, "Accept", err, net.ErrClosed)
		_, err = pipe.Dial(bg, network, name)
		if want := map[bool]error{true: unix.ECONNREFUSED, false: os.ErrNotExist}[name[0] == '@']; !errors.Is(err, want) {
			t.Errorf("Dial of a closed one: %v, want %v", err, want)
		}
		must(t, s.Send(bg, []byte("still open")))
	})
}

// ended is a context that is over.
func ended() context.Context {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	return ctx
}

func TestListenNames(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		network, name string
		want          error
		text          string
	}{
		{"tcp", "x", os.ErrInvalid, `"tcp"`},
		{"unix", "", os.ErrInvalid, "empty"},
		{"unix", "@", os.ErrInvalid, "empty"},
		{"unix", strings.Repeat("x", 108), unix.ENAMETOOLONG, "108 bytes, a socket's has at most 107"},
		{"unix", "a\x00b", os.ErrInvalid, "byte 1"},
		{"unix", filepath.Join(dir, "no/where"), os.ErrNotExist, "no/where"},
	} {
		var pe *os.PathError
		_, err := pipe.Listen(c.network, c.name)
		if !errors.Is(err, c.want) || !errors.As(err, &pe) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("Listen(%q, %.20q): %v", c.network, c.name, err)
		}
		_, err = pipe.Dial(bg, c.network, c.name)
		if !errors.Is(err, c.want) || !errors.As(err, &pe) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("Dial(%q, %.20q): %v", c.network, c.name, err)
		}
	}
	// A server that was killed leaves its name.
	name := filepath.Join(dir, "left")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	must(t, err)
	old.SetUnlinkOnClose(false)
	must(t, old.Close())
	_, err = pipe.Listen("unix", name)
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "nobody listens there") {
		t.Error(err)
	}
	must(t, os.Remove(name))
	// Close leaves alone what has taken the name since.
	l, err := pipe.Listen("unix", name)
	must(t, err)
	must(t, os.Rename(name, name+"2"))
	must(t, os.WriteFile(name, nil, 0o600))
	must(t, l.Close())
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
	_, err = pipe.Dial(bg, "unix", name)
	wantErr(t, "Dial of a file", err, unix.ECONNREFUSED)
}

func TestAcceptIsCancelled(t *testing.T) {
	listeners(t, func(t *testing.T, l *pipe.Listener, network, name string) {
		var wg sync.WaitGroup
		var got atomic.Int32
		cancels := make([]context.CancelFunc, 20)
		for i := range cancels {
			ctx, cancel := context.WithCancel(bg)
			cancels[i] = cancel
			wg.Go(func() {
				c, err := l.AcceptConn(ctx)
				if err == nil {
					got.Add(1)
					c.Close()
				} else if i%2 == 0 {
					wantErrGo(t, "AcceptConn", err, context.Canceled)
				} else {
					wantErrGo(t, "AcceptConn", err, os.ErrDeadlineExceeded)
				}
			})
		}
		blocked()
		for i := 0; i < 20; i += 2 {
			cancels[i]()
		}
		blocked()
		for range 3 {
			c, err := pipe.Dial(bg, network, name)
			must(t, err)
			defer c.Close()
		}
		for got.Load() < 3 {
			blocked()
		}
		must(t, l.SetDeadline(time.Now().Add(10*time.Millisecond)))
		all(t, "AcceptConn", &wg)
		for _, c := range cancels {
			c()
		}
		if got.Load() != 3 {
			t.Errorf("%d connections, want 3", got.Load())
		}
		must(t, l.SetDeadline(time.Time{}))
		wg.Go(func() { _, err := l.AcceptConn(bg); wantErrGo(t, "AcceptConn", err, os.ErrClosed) })
		blocked()
		l.Close()
		all(t, "AcceptConn", &wg)
	})
}

// Who decides about a peer may close the Listener, and holds nobody else up.
func TestAllowMayClose(t *testing.T) {
	listeners(t, func(t *testing.T, l *pipe.Listener, network, name string) {
		var asked atomic.Int32
		asking, answer := make(chan bool), make(chan bool)
		l.Allow(func(pipe.Peer) bool {
			if asked.Add(1) == 1 {
				asking <- true
				return <-answer
			}
			must(t, l.Close())
			return false
		})
		var wg sync.WaitGroup
		wg.Go(func() { // the first, who takes long
			c, err := l.AcceptConn(bg)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
		wg.Go(func() {
			<-asking
			_, err := l.AcceptConn(bg)
			wantErrGo(t, "AcceptConn", err, os.ErrClosed)
			answer <- true
		})
		for range 2 {
			c, err := pipe.Dial(bg, network, name)
			must(t, err)
			defer c.Close()
		}
		all(t, "AcceptConn", &wg)
	})
}

// A queue that is full holds Dial up; its context ends it.
func TestDialWaitsForRoom(t *testing.T) {
	name := "@" + t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
	must(t, unix.Listen(fd, 0))
	first, err := pipe.Dial(bg, "unix", name)
	must(t, err)
	defer first.Close()
	ctx, cancel := context.WithTimeout(bg, 30*time.Millisecond)
	defer cancel()
	within(t, "Dial", func() { _, err = pipe.Dial(ctx, "unix", name) })
	wantErr(t, "Dial", err, context.DeadlineExceeded)
	time.AfterFunc(20*time.Millisecond, func() {
		if n, _, err := unix.Accept(fd); err == nil {
			unix.Close(n)
		}
	})
	within(t, "Dial", func() {
		c, err := pipe.Dial(bg, "unix", name)
		must(t, err)
		c.Close()
	})
}
