package pipe_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
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

// timeout fails unless err is one of a deadline.
func timeout(t *testing.T, what string, err error) {
	t.Helper()
	ne, ok := err.(net.Error)
	if !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: %v is no timeout", what, err)
	}
}

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

// netReadTimeout: a reader's deadline doesn't disturb writers.
func netReadTimeout(t *testing.T, a, b net.Conn) {
	go io.Copy(io.Discard, struct{ io.Reader }{b})
	must(t, a.SetReadDeadline(time.Unix(1, 0)))
	_, err := a.Read(make([]byte, 10))
	timeout(t, "Read", err)
	if _, err := a.Write(make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

// netWriteTimeout: a writer's deadline doesn't disturb readers.
func netWriteTimeout(t *testing.T, a, b net.Conn) {
	go b.Write(make([]byte, 10))
	must(t, a.SetWriteDeadline(time.Unix(1, 0)))
	_, err := a.Write(make([]byte, 10))
	timeout(t, "Write", err)
	if n, err := a.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Error(n, err)
	}
}

// netPastTimeout: a deadline in the past ends each call, and lifting it helps.
func netPastTimeout(t *testing.T, a, b net.Conn) {
	must(t, a.SetDeadline(time.Unix(1, 0)))
	for range 3 {
		n, err := a.Write(make([]byte, 10))
		timeout(t, "Write", err)
		m, err := a.Read(make([]byte, 10))
		timeout(t, "Read", err)
		if n != 0 || m != 0 {
			t.Errorf("%d and %d bytes", n, m)
		}
	}
	must(t, a.SetDeadline(time.Time{}))
	netPingPong(t, a, b)
}

// netPresentTimeout: a deadline that is set to the past ends calls that are
// blocked.
func netPresentTimeout(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.Read(make([]byte, 10))
		timeout(t, "Read", err)
	})
	wg.Go(func() {
		var err error
		for err == nil {
			_, err = a.Write(make([]byte, 50_000))
		}
		timeout(t, "Write", err)
	})
	blocked()
	must(t, a.SetDeadline(time.Unix(1, 0)))
	wg.Wait()
}

// netFutureTimeout: not before the deadline.
func netFutureTimeout(t *testing.T, a, b net.Conn) {
	until := time.Now().Add(50 * time.Millisecond)
	must(t, a.SetDeadline(until))
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.Read(make([]byte, 10))
		timeout(t, "Read", err)
		if time.Now().Before(until) {
			t.Error("Read ended early")
		}
	})
	wg.Go(func() {
		var err error
		for err == nil {
			_, err = a.Write(make([]byte, 50_000))
		}
		timeout(t, "Write", err)
		if time.Now().Before(until) {
			t.Error("Write ended early")
		}
	})
	wg.Wait()
	// What was half sent belongs to the Conn, which goes on with it.
	go io.Copy(io.Discard, struct{ io.Reader }{b})
	must(t, a.SetDeadline(time.Time{}))
	if _, err := a.Write(make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

// netCloseTimeout: Close ends blocked calls, with a deadline set or not.
func netCloseTimeout(t *testing.T, a, b net.Conn) {
	must(t, a.SetDeadline(time.Now().Add(time.Hour)))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, err := a.Read(make([]byte, 10))
			wantErrGo(t, "Read", err, os.ErrClosed)
		})
		wg.Go(func() {
			var err error
			for err == nil {
				_, err = a.Write(make([]byte, 50_000))
			}
			wantErrGo(t, "Write", err, os.ErrClosed)
		})
	}
	blocked()
	must(t, a.Close())
	wg.Wait()
	for what, err := range map[string]error{
		"SetDeadline": a.SetDeadline(time.Time{}), "SetReadDeadline": a.SetReadDeadline(time.Time{}),
		"SetWriteDeadline": a.SetWriteDeadline(time.Time{}), "Close": a.Close(),
	} {
		wantErrGo(t, what, err, os.ErrClosed)
	}
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
