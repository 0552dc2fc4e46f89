package pipe_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
)

func TestNetConnDeadlines(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		timedOut := func(what string, n int, err error) {
			t.Helper()
			ne, ok := err.(net.Error)
			if n != 0 || !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		buf := make([]byte, 10)
		must(t, s.SetDeadline(time.Unix(1, 0)))
		must(t, r.SetDeadline(time.Unix(1, 0)))
		n, err := s.Write(buf)
		timedOut("Write past", n, err)
		n, err = r.Read(buf)
		timedOut("Read past", n, err)
		must(t, r.SetReadDeadline(time.Time{}))
		must(t, s.SetWriteDeadline(time.Time{}))
		go func() { blocked(); r.SetReadDeadline(time.Unix(1, 0)) }()
		within(t, "Read", func() { n, err = r.Read(buf) })
		timedOut("Read present", n, err)
		must(t, r.SetReadDeadline(time.Time{}))
		_, err = s.Write([]byte("hello"))
		must(t, err)
		n, err = r.Read(buf[:3])
		if n != 3 || err != nil || string(buf[:3]) != "hel" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		if _, err := r.PassFiles(); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("PassFiles with a half-read frame: %v", err)
		}
		if got, err := r.RecvAlloc(bg, 9); err != nil || string(got) != "lo" {
			t.Errorf("rest by RecvAlloc: %q, %v", got, err)
		}
	})
}

func TestReadStream(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		var want bytes.Buffer
		for i := range 300 {
			want.Write(bytes.Repeat([]byte{byte(i)}, i*13%4000))
		}
		go func() {
			for i := range 300 {
				s.Send(bg, bytes.Repeat([]byte{byte(i)}, i*13%4000))
			}
			s.CloseWrite()
		}()
		var got []byte
		var err error
		within(t, "ReadAll", func() { got, err = io.ReadAll(r) })
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%d bytes of %d, %v", len(got), want.Len(), err)
		}
	})
}

// Read stops at the end of a frame, so gob's buffer never swallows a message.
func TestGobAndSendMixed(t *testing.T) {
	type point struct{ X, Y int }
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		enc, dec := gob.NewEncoder(s), gob.NewDecoder(r)
		for i := range 50 {
			must(t, enc.Encode(point{i, -i}))
			must(t, s.Send(bg, []byte{byte(i)}))
			must(t, s.Send(bg, nil))
			must(t, enc.Encode(bytes.Repeat([]byte("x"), 5000)))
			var p point
			must(t, dec.Decode(&p))
			if p != (point{i, -i}) {
				t.Fatalf("%v", p)
			}
			if got, err := r.RecvAlloc(bg, 5); err != nil || len(got) != 1 || got[0] != byte(i) {
				t.Fatalf("%v, %v", got, err)
			}
			if got, err := r.RecvAlloc(bg, 5); err != nil || len(got) != 0 {
				t.Fatalf("%v, %v", got, err)
			}
			var b []byte
			must(t, dec.Decode(&b))
			if len(b) != 5000 {
				t.Fatal(len(b))
			}
		}
	})
}

// The rest of a Write that a deadline ended is the Conn's to send.
func TestWriteDeadlineMidFrame(t *testing.T) {
	s, r, err := pipe.Pair()
	must(t, err)
	closeAfter(t, s, r)
	big := bytes.Repeat([]byte("b"), 3<<20)
	var n int
	untilMoved(t, "Write", func(ctx context.Context) bool {
		until, _ := ctx.Deadline()
		must(t, s.SetWriteDeadline(until))
		n, err = s.Write(big)
		wantErr(t, "Write", err, os.ErrDeadlineExceeded)
		return n > 0
	})
	if ne, ok := err.(net.Error); n != len(big) || !ok || !ne.Timeout() {
		t.Errorf("Write = %d, %v", n, err)
	}
	if _, err := s.PassFiles(); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("PassFiles with a half-sent frame: %v", err)
	}
	must(t, s.SetWriteDeadline(time.Time{}))
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	wantErr(t, "Flush", s.Flush(ctx), context.DeadlineExceeded)
	flushed := make(chan error, 1)
	go func() { flushed <- s.Flush(bg) }()
	var got []byte
	within(t, "RecvAlloc", func() { got, err = r.RecvAlloc(bg, len(big)) })
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	within(t, "Flush", func() { must(t, <-flushed) })
	_, err = s.PassFiles()
	must(t, err)
}
