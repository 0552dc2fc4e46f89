package pipe_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// Frames go from one Conn to another through a pipe, then into a socket and a
// file, and arrive as what they were.
func TestSplice(t *testing.T) {
	before := fdCount(t)
	r1, w1, err := pipe.OneWay()
	must(t, err)
	s, r2, err := pipe.Pair()
	must(t, err)
	msg := bytes.Repeat([]byte("0123456789"), 50_000)
	frames := int64(2*8 + len(msg) + 3)
	go func() {
		w1.Send(bg, msg)
		w1.Send(bg, []byte("end"))
	}()
	go func() {
		if n, err := pipe.Splice(bg, s, r1, frames); n != frames || err != nil {
			t.Errorf("%d bytes of %d, %v", n, frames, err)
		}
	}()
	var got []byte
	within(t, "RecvAlloc", func() { got, err = r2.RecvAlloc(bg, len(msg)) })
	if err != nil || !bytes.Equal(got, msg) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	within(t, "RecvAlloc", func() { got, err = r2.RecvAlloc(bg, len(msg)) })
	if err != nil || string(got) != "end" {
		t.Errorf("%q, %v", got, err)
	}

	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	rawWrite(t, w1, []byte("hello"))
	var n int64
	untilMoved(t, "Splice", func(ctx context.Context) bool {
		within(t, "Splice", func() { n, err = pipe.Splice(ctx, f, r1, 9) })
		wantErr(t, "Splice", err, context.DeadlineExceeded)
		return n > 0
	})
	if b, _ := os.ReadFile(f.Name()); n != 5 || string(b) != "hello" {
		t.Errorf("%d bytes, the file has %q", n, b)
	}
	rawWrite(t, w1, []byte("!"))
	must(t, w1.Close())
	n, err = pipe.Splice(bg, f, r1, 9)
	wantErr(t, "end", err, io.EOF)
	if n != 1 {
		t.Errorf("%d bytes", n)
	}
	f.Close()
	r1.Close()
	s.Close()
	r2.Close()
	if n := fdCount(t); n > before {
		t.Errorf("%d descriptors, before %d", n, before)
	}
}

// A destination that is full, and then gone.
func TestSpliceFull(t *testing.T) {
	r1, w1, err := pipe.OneWay()
	must(t, err)
	r2, w2, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r1, w1, r2, w2)
	const size = 1 << 20
	go w1.Send(bg, make([]byte, size-8))
	var n int64
	untilMoved(t, "Splice", func(ctx context.Context) bool {
		var k int64
		within(t, "Splice", func() { k, err = pipe.Splice(ctx, w2, r1, size-n) })
		wantErr(t, "Splice", err, context.DeadlineExceeded)
		n += k
		room, err := unix.Poll([]unix.PollFd{{Fd: int32(rawFD(t, w2)), Events: unix.POLLOUT}}, 0)
		return err == nil && room == 0
	})
	if n < 4096 || n > 200_000 {
		t.Errorf("%d bytes into a full pipe", n)
	}
	done := make(chan error)
	go func() { _, err := pipe.Splice(bg, w2, r1, size-n); done <- err }()
	var got []byte
	within(t, "RecvAlloc", func() { got, err = r2.RecvAlloc(bg, size) })
	if err != nil || len(got) != size-8 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	must(t, <-done)
	must(t, r2.Close())
	must(t, w1.Send(bg, []byte("x")))
	_, err = pipe.Splice(bg, w2, r1, 9)
	wantErr(t, "Splice", err, unix.EPIPE)
}

func TestTee(t *testing.T) {
	r1, w1, err := pipe.OneWay()
	must(t, err)
	r2, w2, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r1, w1, r2, w2)
	time.AfterFunc(10*time.Millisecond, func() { w1.Send(bg, []byte("twice")) })
	var n int64
	within(t, "Tee", func() { n, err = pipe.Tee(bg, w2, r1, 1<<20) })
	if n != 13 || err != nil {
		t.Fatal(n, err)
	}
	for _, r := range []*pipe.Conn{r1, r2} {
		if got, err := r.RecvAlloc(bg, 9); err != nil || string(got) != "twice" {
			t.Errorf("%q, %v", got, err)
		}
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	within(t, "Tee", func() { _, err = pipe.Tee(ctx, w2, r1, 1) })
	wantErr(t, "Tee", err, context.DeadlineExceeded)
	must(t, w1.Close())
	_, err = pipe.Tee(bg, w2, r1, 1)
	wantErr(t, "Tee", err, io.EOF)
}

func TestSpliceRefuses(t *testing.T) {
	s, r, err := pipe.Pair()
	must(t, err)
	r1, w1, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, s, r, r1, w1)
	must(t, s.Send(bg, []byte("a")))
	must(t, s.Send(bg, []byte("b")))
	_, err = r.RecvAlloc(bg, 1)
	must(t, err)
	_, err = pipe.Splice(bg, w1, r, 9)
	wantErr(t, "read ahead", err, os.ErrInvalid)
	_, err = pipe.Splice(bg, w1, r1, -1)
	wantErr(t, "-1", err, os.ErrInvalid)
	_, err = pipe.Tee(bg, w1, r1, -1)
	wantErr(t, "-1", err, os.ErrInvalid)
	_, err = pipe.Splice(bg, nil, r1, 1)
	wantErr(t, "nil", err, os.ErrInvalid)
	_, err = pipe.Splice(bg, r, s, 1)
	wantErr(t, "no pipe", err, unix.EINVAL)
	says(t, err, "one of src and dst must be a pipe or FIFO")
	_, err = pipe.Tee(bg, w1, s, 1)
	wantErr(t, "Tee of a socket", err, unix.EINVAL)
	says(t, err, "src and dst must be two pipes or FIFOs: tee: ")
	r2, w2, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r2, w2)
	_, err = pipe.Splice(bg, r2, r1, 1)
	wantErr(t, "into a reading end", err, unix.EBADF)
	says(t, err, "src is not open for reading, or dst not for writing: splice: ")
	_, err = pipe.Splice(ended(), w1, r1, 1)
	wantErr(t, "ended", err, context.Canceled)
}
