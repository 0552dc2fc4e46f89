package pipe_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A link moves whole messages one way. The std twins have no frames: both sides
// know the size.
type link struct {
	send func([]byte) error
	recv func([]byte) error
	end  func()
}

func conns(b *testing.B, k int, ctx context.Context) link {
	s, r, err := kinds[k].open()
	must(b, err)
	return link{
		func(m []byte) error { return s.Send(ctx, m) },
		func(m []byte) error { _, err := r.Recv(ctx, m); return err },
		func() { s.Close(); r.Close() },
	}
}

func osPipe(b *testing.B) link {
	r, w, err := os.Pipe()
	must(b, err)
	return link{
		func(m []byte) error { _, err := w.Write(m); return err },
		func(m []byte) error { _, err := io.ReadFull(r, m); return err },
		func() { r.Close(); w.Close() },
	}
}

func netUnix(b *testing.B) link {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(b, err)
	var c [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c[i], err = net.FileConn(f)
		must(b, err)
		f.Close()
	}
	return link{
		func(m []byte) error { _, err := c[0].Write(m); return err },
		func(m []byte) error { _, err := io.ReadFull(c[1], m); return err },
		func() { c[0].Close(); c[1].Close() },
	}
}

var links = []struct {
	path, impl string
	open       func(b *testing.B) link
}{
	{"pipe", "rawipc", func(b *testing.B) link { return conns(b, 2, bg) }},
	{"pipe", "os.Pipe", osPipe},
	{"stream", "rawipc", func(b *testing.B) link { return conns(b, 0, bg) }},
	{"stream", "net", netUnix},
	{"packet", "rawipc", func(b *testing.B) link { return conns(b, 1, bg) }},
}

// BenchmarkPingPong is a round trip between two goroutines.
func BenchmarkPingPong(b *testing.B) {
	for _, l := range links {
		for _, size := range []int{64, 4096} {
			b.Run(fmt.Sprintf("path=%s/impl=%s/size=%d/peer=goroutine", l.path, l.impl, size), func(b *testing.B) {
				there, back := l.open(b), l.open(b)
				done := make(chan struct{})
				go func() {
					defer close(done)
					buf := make([]byte, size)
					for there.recv(buf) == nil && back.send(buf) == nil {
					}
				}()
				b.ReportAllocs()
				buf := make([]byte, size)
				for b.Loop() {
					if there.send(buf) != nil || back.recv(buf) != nil {
						b.Fatal("broken")
					}
				}
				there.end()
				back.end()
				<-done
			})
		}
	}
}

// BenchmarkStream is one way, as fast as it goes.
func BenchmarkStream(b *testing.B) {
	for _, l := range links {
		for _, size := range []int{64, 4096, 65536} {
			b.Run(fmt.Sprintf("path=%s/impl=%s/size=%d/peer=goroutine", l.path, l.impl, size), func(b *testing.B) {
				there := l.open(b)
				done := make(chan struct{})
				go func() {
					defer close(done)
					buf := make([]byte, size)
					for there.recv(buf) == nil {
					}
				}()
				b.SetBytes(int64(size))
				b.ReportAllocs()
				buf := make([]byte, size)
				for b.Loop() {
					if there.send(buf) != nil {
						b.Fatal("broken")
					}
				}
				there.end()
				<-done
			})
		}
	}
}
