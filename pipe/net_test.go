package pipe_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
)

// What anything that calls itself a net.Conn has to do, in both directions of
// each kind that has two. These are the aspects that x/net's nettest looks at.
func TestNetConn(t *testing.T) {
	for _, kind := range []struct {
		name string
		open func(t *testing.T) (a, b net.Conn)
	}{
		{"Pair", func(t *testing.T) (a, b net.Conn) { a, b, err := pair(pipe.Pair()); must(t, err); return a, b }},
		{"PacketPair", func(t *testing.T) (a, b net.Conn) { a, b, err := pair(pipe.PacketPair()); must(t, err); return a, b }},
		{"Dial", func(t *testing.T) (a, b net.Conn) {
			l, err := pipe.Listen("unix", "@"+t.TempDir())
			must(t, err)
			defer l.Close()
			a, err = pipe.Dial(bg, "unix", l.Addr().String())
			must(t, err)
			b, err = l.Accept()
			must(t, err)
			return a, b
		}},
	} {
		for _, aspect := range []struct {
			name  string
			check func(t *testing.T, a, b net.Conn)
		}{
			{"BasicIO", netBasicIO}, {"PingPong", netPingPong}, {"RacyRead", netRacyRead}, {"RacyWrite", netRacyWrite},
			{"ReadTimeout", netReadTimeout}, {"WriteTimeout", netWriteTimeout}, {"PastTimeout", netPastTimeout},
			{"PresentTimeout", netPresentTimeout}, {"FutureTimeout", netFutureTimeout}, {"CloseTimeout", netCloseTimeout},
			{"ConcurrentMethods", netConcurrentMethods},
		} {
			t.Run(kind.name+"/"+aspect.name, func(t *testing.T) {
				a, b := kind.open(t)
				defer a.Close()
				defer b.Close()
				within(t, aspect.name, func() { aspect.check(t, a, b) })
			})
		}
	}
}

func pair(a, b *pipe.Conn, err error) (net.Conn, net.Conn, error) { return a, b, err }

// netBasicIO sends a lot there and back.
func netBasicIO(t *testing.T, a, b net.Conn) {
	want := make([]byte, 8<<20)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for p := want; len(p) > 0; { // a packet has its limit
			k := min(len(p), 50_000)
			if n, err := a.Write(p[:k]); n != k || err != nil {
				t.Errorf("Write: %d, %v", n, err)
				return
			}
			p = p[k:]
		}
		if err := a.(*pipe.Conn).CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if n, err := io.CopyBuffer(struct{ io.Writer }{b}, struct{ io.Reader }{b}, make([]byte, 10_000)); n != int64(len(want)) || err != nil {
			t.Errorf("echo of %d bytes, %v", n, err)
		}
		b.(*pipe.Conn).CloseWrite()
	})
	got, err := io.ReadAll(a)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	wg.Wait()
}

// netPingPong: bytes go to and fro until one closes.
func netPingPong(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	play := func(c net.Conn, first bool) {
		defer c.Close()
		buf := make([]byte, 8)
		for i := byte(0); i < 100; i++ {
			if first {
				if _, err := c.Write(bytes.Repeat([]byte{i}, 8)); err != nil {
					t.Error(err)
				}
			}
			if _, err := io.ReadFull(c, buf); err != nil || buf[7] != i {
				t.Errorf("turn %d: %v, %v", i, buf, err)
				return
			}
			if !first {
				c.Write(bytes.Repeat([]byte{i}, 8))
			}
		}
	}
	wg.Go(func() { play(a, true) })
	wg.Go(func() { play(b, false) })
	wg.Wait()
}

func netRacyRead(t *testing.T, a, b net.Conn) {
	go func() {
		for {
			if _, err := b.Write(make([]byte, 100)); err != nil {
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			buf := make([]byte, 512)
			for range 20 {
				if _, err := a.Read(buf); err != nil {
					timeout(t, "Read", err)
					a.SetReadDeadline(time.Now().Add(time.Millisecond))
				}
			}
		})
	}
	wg.Go(func() { a.SetReadDeadline(time.Now().Add(time.Millisecond)) })
	wg.Wait()
	b.Close()
}

func netRacyWrite(t *testing.T, a, b net.Conn) {
	go io.Copy(io.Discard, struct{ io.Reader }{b})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 20 {
				if _, err := a.Write(make([]byte, 5000)); err != nil {
					timeout(t, "Write", err)
					a.SetWriteDeadline(time.Now().Add(time.Millisecond))
				}
			}
		})
	}
	wg.Go(func() { a.SetWriteDeadline(time.Now().Add(time.Millisecond)) })
	wg.Wait()
	a.Close()
}

// netConcurrentMethods is for the race detector.
func netConcurrentMethods(t *testing.T, a, b net.Conn) {
	go io.Copy(io.Discard, struct{ io.Reader }{b})
	go func() {
		for {
			if _, err := b.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { a.Read(make([]byte, 1024)) })
		wg.Go(func() { a.Write(make([]byte, 1024)) })
		wg.Go(func() { a.SetDeadline(time.Now().Add(10 * time.Millisecond)) })
		wg.Go(func() { a.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) })
		wg.Go(func() { a.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)) })
		wg.Go(func() {
			if a.LocalAddr() == nil || a.RemoteAddr() == nil {
				t.Error("no address")
			}
		})
	}
	wg.Wait()
	b.Close()
}
