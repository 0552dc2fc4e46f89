package pipe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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
	says(t, err, "pipe: this end only sends: read: ")
	says(t, r.Send(bg, nil), "pipe: this end only receives: write: ")
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
	says(t, err, "of what is no pipe and no FIFO: fcntl: ")
	for _, size := range []int64{-1, 1<<31 + 1, 1<<32 + 4096} {
		if int64(int(size)) != size {
			continue // 32 bits
		}
		_, err = pipe.SetSize(w, int(size))
		wantErr(t, "no size", err, unix.EINVAL)
		says(t, err, fmt.Sprintf("SetSize to %d bytes, want 0 to 2147483648: fcntl: ", size))
	}
}

// says fails unless err has the text in it.
func says(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%v: want %q in it", err, text)
	}
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
		if n := fdCount(t); n > before {
			t.Errorf("%d descriptors, before %d", n, before)
		}
	}, "Pair", "PacketPair")
}

// Nobody reads on in a stream that was given up, even one who waited already.
func TestGivenUpForAll(t *testing.T) {
	for range 5 {
		s, r := openPair(t)
		receivers := func(n int) {
			within(t, "a receiver's coming", func() {
				for r.Receivers() != n {
					time.Sleep(100 * time.Microsecond)
				}
			})
			blocked()
		}
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := r.RecvAlloc(bg, 100)
			first <- err
		}()
		receivers(1)
		go func() {
			_, err := r.Recv(bg, make([]byte, 8))
			second <- err
		}()
		receivers(2)
		chunk := binary.LittleEndian.AppendUint64(nil, 1<<63)
		chunk = binary.LittleEndian.AppendUint64(chunk, 2)
		rawWrite(t, s, append(chunk, "hi"...))
		within(t, "both", func() {
			wantErr(t, "RecvAlloc", <-first, pipe.ErrTooLarge)
			wantErr(t, "Recv", <-second, os.ErrClosed)
		})
	}
}
