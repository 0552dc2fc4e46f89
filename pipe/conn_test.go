package pipe_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

func TestRoundTrip(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		for _, size := range []int{0, 1, 7, 8, 64, 4088, 4096, 8183, 8184, 8185, 65536, 150_000, 1 << 20} {
			if size > 200_000 && t.Name() == "TestRoundTrip/PacketPair" {
				wantErr(t, "large packet", s.Send(bg, make([]byte, size)), unix.EMSGSIZE)
				continue
			}
			msg := bytes.Repeat([]byte{byte(size), 1, 2, 3, 5}, size/5+1)[:size]
			for _, alloc := range []bool{false, true} {
				sent := make(chan error, 1)
				go func() { sent <- s.Send(bg, msg) }()
				var got []byte
				var err error
				within(t, "Recv", func() {
					if alloc {
						got, err = r.RecvAlloc(bg, size)
					} else {
						got = make([]byte, size+3)
						var n int
						n, err = r.Recv(bg, got)
						got = got[:n]
					}
				})
				must(t, err)
				must(t, <-sent)
				if !bytes.Equal(got, msg) || got == nil {
					t.Fatalf("size %d: got %d bytes that differ", size, len(got))
				}
			}
		}
		// Many at once, so that one read brings several.
		for i := range 100 {
			must(t, s.Send(bg, binary.LittleEndian.AppendUint32(nil, uint32(i))))
		}
		buf := make([]byte, 4)
		for i := range 100 {
			n, err := r.Recv(bg, buf)
			must(t, err)
			if n != 4 || binary.LittleEndian.Uint32(buf) != uint32(i) {
				t.Fatalf("message %d: % x", i, buf[:n])
			}
		}
		must(t, s.Send(bg, nil))
		must(t, s.CloseWrite())
		if n, err := r.Recv(bg, nil); n != 0 || err != nil {
			t.Fatalf("empty message before the end: %d, %v", n, err)
		}
		for range 2 {
			_, err := r.Recv(bg, buf)
			wantErr(t, "end", err, io.EOF)
		}
	})
}

func TestCase154_CloseOnExecAndPacketFlag(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		for _, c := range []*pipe.Conn{s, r} {
			fd := rawFD(t, c)
			if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
				t.Errorf("F_GETFD: %#x, %v", fl, err)
			}
			if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK == 0 {
				t.Errorf("F_GETFL: %#x, %v", fl, err)
			}
		}
	})
	// O_DIRECT: a pipe whose boundaries the kernel keeps.
	var fds [2]int
	must(t, unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_DIRECT))
	_, err := unix.FcntlInt(uintptr(fds[0]), unix.F_SETFL, unix.O_DIRECT) // pipe2 sets it on the other end only
	must(t, err)
	r, err := pipe.FromFile(os.NewFile(uintptr(fds[0]), "r"))
	must(t, err)
	w, err := pipe.FromFile(os.NewFile(uintptr(fds[1]), "w"))
	must(t, err)
	closeAfter(t, r, w)
	must(t, w.Send(bg, []byte("one")))
	must(t, w.Send(bg, []byte("three")))
	for _, want := range []string{"one", "three"} {
		got, err := r.RecvAlloc(bg, 10)
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	wantErr(t, "packet of 4097", w.Send(bg, make([]byte, 4097)), unix.EMSGSIZE)
	wantErr(t, "empty packet", w.Send(bg, nil), unix.EMSGSIZE)
	must(t, w.Close())
	_, err = r.Recv(bg, nil)
	wantErr(t, "end", err, io.EOF)
}

func TestCase155_WrongDirection(t *testing.T) {
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	_, err = w.Recv(bg, nil)
	wantErr(t, "Recv", err, unix.EBADF)
	_, err = w.Poll(bg)
	wantErr(t, "Poll", err, unix.EBADF)
	_, err = w.Read(make([]byte, 1))
	wantErr(t, "Read", err, unix.EBADF)
	wantErr(t, "Send", r.Send(bg, nil), unix.EBADF)
	_, err = r.Write(nil)
	wantErr(t, "Write", err, unix.EBADF)
	wantErr(t, "CloseWrite", r.CloseWrite(), unix.EBADF)
}

func TestCase156_BrokenPipe(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		must(t, r.Close())
		for _, size := range []int{1, 100_000} {
			wantErr(t, "Send", s.Send(bg, make([]byte, size)), unix.EPIPE)
		}
	})
}

func TestCase159_FullDeadlineResume(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		msg := bytes.Repeat([]byte("x"), 30_000)
		sent, wait := 0, 50*time.Millisecond
		start := time.Now()
		must(t, s.SetWriteDeadline(start.Add(wait)))
		var err error
		for err == nil {
			if err = s.Send(bg, msg); err == nil {
				sent++
			}
		}
		wantErr(t, "Send into a full Conn", err, os.ErrDeadlineExceeded)
		if !os.IsTimeout(err) {
			t.Errorf("%v is no timeout", err)
		}
		if d := time.Since(start); d < wait {
			t.Errorf("deadline came after %v, too early", d)
		}
		if part := (*pipe.PartialError)(nil); errors.As(err, &part) {
			sent++
			if part.Unsent <= 0 || part.Unsent >= len(msg)+8 {
				t.Errorf("Unsent = %d", part.Unsent)
			}
		}
		must(t, s.SetWriteDeadline(time.Time{}))
		go func() { s.Send(bg, []byte("last")); s.CloseWrite() }()
		within(t, "draining", func() {
			for i := range sent {
				if got, err := r.RecvAlloc(bg, len(msg)); err != nil || !bytes.Equal(got, msg) {
					t.Errorf("message %d of %d: %d bytes, %v", i, sent, len(got), err)
					return
				}
			}
			if got, err := r.RecvAlloc(bg, len(msg)); err != nil || string(got) != "last" {
				t.Errorf("last: %d bytes, %v", len(got), err)
			}
			_, err := r.Recv(bg, nil)
			wantErr(t, "end", err, io.EOF)
		})
	})
}

func TestCase161_SetSize(t *testing.T) {
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	n, err := pipe.SetSize(w, 100_000)
	if err != nil || n != 131072 {
		t.Fatalf("SetSize(100000) = %d, %v", n, err)
	}
	must(t, w.Send(bg, make([]byte, 90_000)))
	_, err = pipe.SetSize(r, 4096)
	wantErr(t, "below what is used", err, unix.EBUSY)
	if _, err = pipe.SetSize(r, 1<<28); err == nil {
		t.Log("this process may exceed fs.pipe-max-size")
	} else {
		wantErr(t, "above the limit", err, unix.EPERM)
		limit, _ := os.ReadFile("/proc/sys/fs/pipe-max-size")
		if want := "fs.pipe-max-size (now " + strings.TrimSpace(string(limit)) + ")"; !strings.Contains(err.Error(), want) {
			t.Errorf("error %q doesn't say %q", err, want)
		}
	}
	a, b, err := pipe.Pair()
	must(t, err)
	closeAfter(t, a, b)
	_, err = pipe.SetSize(a, 4096)
	wantErr(t, "socket", err, unix.EBADF)
}

// Case 162 asks that a packet cut short be reported. Here none is cut.
func TestCase162_167_ShortBuffer(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		for _, size := range []int{10, 8000, 40_000} {
			msg := bytes.Repeat([]byte{1, 2, 3}, size)[:size]
			must(t, s.Send(bg, msg))
			must(t, s.Send(bg, []byte("next")))
			for _, have := range []int{0, 5, size - 1} {
				_, err := r.Recv(bg, make([]byte, have))
				wantErr(t, "short buffer", err, pipe.ErrShortBuffer)
				var se *pipe.ShortBufferError
				if !errors.As(err, &se) || se.Size != size || se.Buffer != have {
					t.Fatalf("error is %+v", err)
				}
			}
			buf := make([]byte, size)
			if n, err := r.Recv(bg, buf); err != nil || !bytes.Equal(buf[:n], msg) {
				t.Fatalf("after it: %d bytes, %v", n, err)
			}
			if n, err := r.Recv(bg, buf); err != nil || string(buf[:n]) != "next" {
				t.Fatalf("next: %q, %v", buf[:n], err)
			}
		}
	})
}

func TestCase166_AbsurdLengths(t *testing.T) {
	for _, size := range []uint64{1<<64 - 1, 1 << 63, 0xFFFFFFFF, 1 << 62, 1001} {
		r, w, err := pipe.OneWay()
		must(t, err)
		closeAfter(t, r, w)
		rawWrite(t, w, binary.LittleEndian.AppendUint64(nil, size))
		_, err = r.RecvAlloc(bg, 1000)
		wantErr(t, fmt.Sprint(size), err, pipe.ErrTooLarge)
		_, err = r.Recv(bg, nil)
		wantErr(t, "after it", err, os.ErrClosed)
	}
	s, r, err := pipe.PacketPair()
	must(t, err)
	closeAfter(t, s, r)
	must(t, s.Send(bg, make([]byte, 1001)))
	_, err = r.RecvAlloc(bg, 1000)
	wantErr(t, "packet", err, pipe.ErrTooLarge)
	_, err = r.RecvAlloc(bg, -1)
	wantErr(t, "closed", err, os.ErrClosed)
}

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
				unix.Kill(os.Getpid(), unix.SIGUSR1)
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

func TestCase177_AttachedDescriptors(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		before := fdCount(t)
		frame := []byte("\x02\x00\x00\x00\x00\x00\x00\x00hi")
		if t.Name() == "TestCase177_AttachedDescriptors/PacketPair" {
			frame = frame[8:]
		}
		for range 100 {
			fds := unix.UnixRights(0, 1, 2)
			must(t, unix.Sendmsg(rawFD(t, s), frame, fds, nil, 0))
			if got, err := r.RecvAlloc(bg, 10); err != nil || string(got) != "hi" {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if n := fdCount(t); n != before {
			t.Errorf("%d descriptors, before %d", n, before)
		}
	}, "Pair", "PacketPair")
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
