package pipe_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

func TestCase168_Close(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		for i := range 6 { // one in the poller, the others in line
			ctx := ctx
			if i%2 == 0 {
				ctx = bg
			}
			wg.Go(func() {
				_, err := r.Recv(ctx, make([]byte, 1))
				wantErrGo(t, "blocked Recv", err, os.ErrClosed)
			})
		}
		blocked()
		must(t, r.Close())
		all(t, "Close", &wg)
	})
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		for i := range 6 {
			ctx := ctx
			if i%2 == 0 {
				ctx = bg
			}
			wg.Go(func() {
				var err error
				for err == nil {
					err = s.Send(ctx, make([]byte, 100_000))
				}
				wantErrGo(t, "blocked Send", err, os.ErrClosed)
			})
		}
		blocked()
		must(t, s.Close())
		all(t, "Close", &wg)
		must(t, r.Close())
		for _, c := range []*pipe.Conn{s, r} {
			buf := make([]byte, 1)
			_, err := c.RecvAlloc(bg, 1)
			errs := map[string]error{"RecvAlloc": err, "Send": c.Send(bg, nil), "Close": c.Close(), "CloseWrite": c.CloseWrite(),
				"SetDeadline": c.SetDeadline(time.Time{}), "Flush": c.Flush(bg)}
			_, errs["Recv"] = c.Recv(bg, buf)
			_, errs["Poll"] = c.Poll(bg)
			_, errs["Read"] = c.Read(buf)
			_, errs["Write"] = c.Write(buf)
			_, errs["SyscallConn"] = c.SyscallConn()
			_, errs["PassFiles"] = c.PassFiles()
			for what, err := range errs {
				wantErr(t, what, err, os.ErrClosed)
			}
			if c.LocalAddr() == nil || c.RemoteAddr() == nil {
				t.Error("nil address")
			}
		}
	})
	var zero pipe.Conn
	wantErr(t, "zero Conn", zero.Send(bg, nil), os.ErrInvalid)
	wantErr(t, "zero Conn", zero.Close(), os.ErrInvalid)
}

// wantErrGo is wantErr for goroutines other than the test's.
func wantErrGo(t testing.TB, what string, err, want error) {
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want %v", what, err, want)
	}
}

func TestCase169_Poll(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		over, cancel := context.WithCancel(bg)
		cancel()
		ok, err := r.Poll(over)
		wantErr(t, "look at nothing", err, context.Canceled)
		if ok {
			t.Error("nothing is ready")
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(bg, 30*time.Millisecond)
		defer cancel()
		ok, err = r.Poll(ctx)
		wantErr(t, "timed Poll", err, context.DeadlineExceeded)
		if ok || time.Since(start) < 30*time.Millisecond {
			t.Errorf("%v after %v", ok, time.Since(start))
		}
		go func() { blocked(); s.Send(bg, []byte("m")); s.Send(bg, []byte("n")) }()
		within(t, "Poll", func() { ok, err = r.Poll(bg) })
		if !ok || err != nil {
			t.Errorf("Poll = %v, %v", ok, err)
		}
		for range 2 {
			_, err := r.Recv(bg, make([]byte, 1))
			must(t, err)
		}
		must(t, s.Send(bg, []byte("o")))
		if ok, err = r.Poll(over); !ok || err != nil { // a look needs no context
			t.Errorf("look at a message: %v, %v", ok, err)
		}
		_, err = r.Recv(bg, make([]byte, 1))
		must(t, err)
		go func() { blocked(); s.CloseWrite() }()
		within(t, "Poll", func() { ok, err = r.Poll(bg) })
		if !ok || err != nil {
			t.Errorf("Poll at the end = %v, %v", ok, err)
		}
	})
}

func TestCase170_Signals(t *testing.T) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGUSR1)
	defer signal.Stop(ch)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				fuzz.Poke(os.Getpid(), unix.SIGUSR1) // each thread
			case <-stop:
				return
			}
		}
	})
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		const count, size = 800, 40_000 // 32 MB
		go func() {
			msg := make([]byte, size)
			for i := range count {
				for j := 0; j < size; j += 1000 {
					msg[j] = byte(i + j)
				}
				s.Send(bg, msg)
			}
			s.CloseWrite()
		}()
		within(t, "transfer", func() {
			buf := make([]byte, size)
			for i := range count {
				n, err := r.Recv(bg, buf)
				if n != size || err != nil {
					t.Errorf("message %d: %d, %v", i, n, err)
					return
				}
				for j := 0; j < size; j += 1000 {
					if buf[j] != byte(i+j) {
						t.Errorf("message %d differs at %d", i, j)
						return
					}
				}
			}
		})
	})
	close(stop)
	wg.Wait()
}

func TestCase184_Concurrent(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		const workers, each = 8, 300
		sizeOf := func(id, i int) int { return 8 + (id*7919+i*104729)%20_000 }
		var senders, receivers sync.WaitGroup
		for id := range workers {
			senders.Go(func() {
				for i := range each {
					msg := bytes.Repeat([]byte{byte(id + i)}, sizeOf(id, i))
					binary.LittleEndian.PutUint32(msg, uint32(id))
					binary.LittleEndian.PutUint32(msg[4:], uint32(i))
					if err := s.Send(bg, msg); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		var mu sync.Mutex
		seen := map[[2]uint32]bool{}
		for range workers {
			receivers.Go(func() {
				buf := make([]byte, 30_000)
				for {
					n, err := r.Recv(bg, buf)
					if err == io.EOF {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
					key := [2]uint32{binary.LittleEndian.Uint32(buf), binary.LittleEndian.Uint32(buf[4:])}
					want := bytes.Repeat([]byte{byte(key[0] + key[1])}, max(n-8, 0))
					mu.Lock()
					if seen[key] || n != sizeOf(int(key[0]), int(key[1])) || !bytes.Equal(buf[8:n], want) {
						t.Errorf("message %v: %d bytes, seen before: %v", key, n, seen[key])
					}
					seen[key] = true
					mu.Unlock()
				}
			})
		}
		all(t, "senders", &senders)
		must(t, s.CloseWrite())
		all(t, "receivers", &receivers)
		if len(seen) != workers*each {
			t.Errorf("%d messages of %d", len(seen), workers*each)
		}
	})
}
