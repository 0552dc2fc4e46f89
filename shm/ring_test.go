package shm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

var bg = context.Background()

func newRing(t testing.TB, capacity int) (*shm.RingWriter, *shm.RingReader) {
	t.Helper()
	w, r, err := shm.NewRing(capacity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); r.Close() })
	return w, r
}

// A stream of messages of random sizes, from none to the largest that fits,
// arrives whole and in order, whoever waits for whom.
func TestRingStream(t *testing.T) {
	w, r := newRing(t, 1)
	rounds := 30000
	if testing.Short() {
		rounds = 3000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	sent := make(chan struct{})
	defer func() { <-sent }()
	go func() {
		defer close(sent)
		rng := rand.New(rand.NewPCG(seed, 0))
		msg := make([]byte, w.MaxMessage())
		for i := range rounds {
			n := rng.IntN(200)
			if rng.IntN(50) == 0 {
				n = rng.IntN(w.MaxMessage() + 1)
			}
			n = max(n, 8)
			binary.LittleEndian.PutUint32(msg, uint32(i))
			for j := 8; j < n; j++ {
				msg[j] = byte(i + j)
			}
			binary.LittleEndian.PutUint32(msg[4:], crc32.ChecksumIEEE(msg[8:n]))
			if err := w.Send(bg, msg[:n]); err != nil {
				t.Errorf("message %d: %v", i, err)
				break
			}
		}
		w.CloseSend()
	}()
	buf := make([]byte, r.MaxMessage())
	for i := 0; ; i++ {
		n, err := r.Recv(bg, buf)
		if err == io.EOF {
			if i != rounds {
				t.Errorf("%d messages, want %d", i, rounds)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.LittleEndian.Uint32(buf); got != uint32(i) {
			t.Fatalf("message %d in the place of %d", got, i)
		}
		if sum := crc32.ChecksumIEEE(buf[8:n]); sum != binary.LittleEndian.Uint32(buf[4:]) {
			t.Fatalf("message %d of %d bytes is damaged", i, n)
		}
	}
}

// Reserve gives one piece wherever it falls, up to the largest message; the
// part that is committed is what arrives.
func TestRingReserve(t *testing.T) {
	w, r := newRing(t, 1)
	for i := range 3 * w.Cap() / 1000 {
		b, err := w.Reserve(bg, 1500)
		if err != nil || len(b) != 1500 || cap(b) != 1500 {
			t.Fatalf("Reserve: %d of %d bytes, %v", len(b), cap(b), err)
		}
		want := bytes.Repeat([]byte{byte(i)}, 1000)
		copy(b, want)
		w.Commit(1000)
		got, err := r.Peek(bg)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Peek: %d bytes, %v", len(got), err)
		}
		r.Advance()
	}
	b, err := w.Reserve(bg, w.MaxMessage())
	if err != nil || len(b) != w.MaxMessage() {
		t.Fatalf("Reserve of all: %d bytes, %v", len(b), err)
	}
}

func TestRingErrors(t *testing.T) {
	for _, n := range []int{0, -1, math.MaxInt} {
		if _, _, err := shm.NewRing(n); !errors.Is(err, unix.EINVAL) {
			t.Errorf("NewRing(%d): %v", n, err)
		}
	}
	w, r := newRing(t, 1)
	if err := w.Send(bg, make([]byte, w.MaxMessage()+1)); !errors.Is(err, shm.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := w.Send(bg, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Recv(bg, make([]byte, 4)); !errors.Is(err, shm.ErrShortBuffer) {
		t.Errorf("short buffer: %v", err)
	}
	buf := make([]byte, 5)
	if n, err := r.Recv(bg, buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("after the short buffer: %q, %v", buf[:n], err)
	}
	if err := w.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := w.Send(bg, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Send after CloseSend: %v", err)
	}
	if _, err := r.Recv(bg, buf); err != io.EOF {
		t.Errorf("Recv after CloseSend: %v", err)
	}
	if err := errors.Join(w.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if err := w.Send(bg, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if _, err := r.Peek(bg); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Peek after Close: %v", err)
	}
}

// A waiting end leaves when its context does, early never, and loses nothing.
func TestRingCancel(t *testing.T) {
	w, r := newRing(t, 1)
	fill := make([]byte, w.MaxMessage())
	const wait = 30 * time.Millisecond
	for _, end := range []struct {
		name string
		call func(context.Context) error
	}{
		{"Recv", func(ctx context.Context) error { _, err := r.Recv(ctx, fill); return err }},
		{"Send", func(ctx context.Context) error {
			if err := w.Send(bg, fill); err != nil {
				return err
			}
			return w.Send(ctx, fill)
		}},
	} {
		start := time.Now()
		ctx, cancel := context.WithTimeout(bg, wait)
		err := end.call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", end.name, err)
		}
		if took := time.Since(start); took < wait {
			t.Errorf("%s left after %v, %v too early", end.name, took, wait-took)
		} else {
			t.Logf("%s left after %v", end.name, took)
		}
		ctx, cancel = context.WithCancel(bg)
		cancel()
		if _, err := r.Recv(ctx, nil); end.name == "Recv" && !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v", err)
		}
	}
	if n, err := r.Recv(bg, fill); err != nil || n != len(fill) {
		t.Errorf("what was sent before: %d bytes, %v", n, err)
	}
}

// An end has one owner at a time; Close gives it to the next, who goes on
// where the first stopped.
func TestRingOneOwner(t *testing.T) {
	w, r := newRing(t, 1)
	w2, r2 := new(shm.RingWriter), new(shm.RingReader)
	for _, h := range []interface {
		TakeFiles([]*os.File) error
	}{w2, r2} {
		if err := h.TakeFiles(dupAll(t, w)); err != nil {
			t.Fatal(err)
		}
	}
	defer w2.Close()
	defer r2.Close()
	buf := make([]byte, 9)
	for i, msg := range []string{"first", "second"} {
		if err := w.Send(bg, []byte(msg)); err != nil {
			t.Fatal(i, err)
		}
	}
	if n, err := r.Recv(bg, buf); err != nil || string(buf[:n]) != "first" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if err := w2.Send(bg, nil); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a second writer: %v", err)
	}
	if _, err := r2.Recv(bg, buf); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a second reader: %v", err)
	}
	w.Close()
	r.Close()
	if err := w2.Send(bg, []byte("third")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"second", "third"} {
		if n, err := r2.Recv(bg, buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%q, %v, want %q", buf[:n], err, want)
		}
	}
}

// The hot path allocates nothing, spinning or asleep.
func TestRingAllocs(t *testing.T) {
	for _, spin := range []time.Duration{0, -1} {
		ping, pingR := newRing(t, 1)
		pong, pongR := newRing(t, 1)
		pingR.SetSpin(spin)
		pongR.SetSpin(spin)
		echoed := make(chan struct{})
		go func() {
			defer close(echoed)
			buf := make([]byte, 64)
			for {
				n, err := pingR.Recv(bg, buf)
				if err != nil {
					pong.CloseSend()
					return
				}
				if err := pong.Send(bg, buf[:n]); err != nil {
					return
				}
			}
		}()
		buf := make([]byte, 64)
		round := func() {
			if err := ping.Send(bg, buf); err != nil {
				t.Error(err)
			}
			if _, err := pongR.Recv(bg, buf); err != nil {
				t.Error(err)
			}
		}
		round()
		if n := testing.AllocsPerRun(1000, round); n != 0 && !raceEnabled {
			t.Errorf("spin %v: %v allocations a round trip", spin, n)
		}
		ping.CloseSend()
		if _, err := pongR.Recv(bg, buf); err != io.EOF {
			t.Error(err)
		}
		<-echoed
	}
}

// dupAll duplicates what a handle lends, as a passing to a child would.
func dupAll(t testing.TB, h interface {
	PassFiles() ([]*os.File, error)
}) []*os.File {
	t.Helper()
	files, err := h.PassFiles()
	if err != nil {
		t.Fatal(err)
	}
	var out []*os.File
	for _, f := range files {
		c, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		c.Control(func(fd uintptr) {
			n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, os.NewFile(uintptr(n), f.Name()))
		})
	}
	return out
}
