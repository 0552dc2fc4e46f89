package pipe_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
)

// A message that announces far more than the pipe holds, with both sides
// cancelled at random: every message arrives once, whole and in order.
func TestCancelMidFrame(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		const count = 150
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		sizes := rand.New(rand.NewPCG(seed, 1))
		limit := 400_000
		if t.Name() == "TestCancelMidFrame/PacketPair" {
			limit = 150_000
		}
		size := make([]int, count)
		for i := range size {
			size[i] = 8 + sizes.IntN(limit)
		}
		var partial, cancelledRecv int
		sender := func() {
			rnd := rand.New(rand.NewPCG(seed, 2))
			for i := range count {
				msg := bytes.Repeat([]byte{byte(i)}, size[i])
				binary.LittleEndian.PutUint64(msg, uint64(i))
				for {
					ctx, cancel := context.WithTimeout(bg, time.Duration(rnd.IntN(300))*time.Microsecond)
					err := s.Send(ctx, msg)
					cancel()
					part := (*pipe.PartialError)(nil)
					if errors.As(err, &part) {
						partial++
						clear(msg) // the Conn has its own copy
						break
					}
					if err == nil {
						break
					}
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
						return
					}
				}
			}
			if err := s.Flush(bg); err != nil {
				t.Error(err)
			}
			if err := s.CloseWrite(); err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		wg.Go(sender)
		within(t, "receiving", func() {
			rnd := rand.New(rand.NewPCG(seed, 3))
			buf := make([]byte, limit+8)
			for i := 0; ; {
				ctx, cancel := context.WithTimeout(bg, time.Duration(rnd.IntN(300))*time.Microsecond)
				var n int
				var err error
				got := buf
				if rnd.IntN(2) == 0 {
					n, err = r.Recv(ctx, buf)
				} else if got, err = r.RecvAlloc(ctx, limit+8); err == nil {
					n = len(got)
				}
				cancel()
				switch {
				case errors.Is(err, context.DeadlineExceeded):
					cancelledRecv++
					continue
				case err == io.EOF:
					if i != count {
						t.Errorf("%d messages of %d", i, count)
					}
					return
				case err != nil:
					t.Error(err)
					return
				}
				want := bytes.Repeat([]byte{byte(i)}, size[i])
				binary.LittleEndian.PutUint64(want, uint64(i))
				if !bytes.Equal(got[:n], want) {
					t.Errorf("message %d: %d bytes of %d, or different ones", i, n, size[i])
					return
				}
				i++
			}
		})
		all(t, "sender", &wg)
		t.Logf("%d sends ended in mid-frame, %d receives were cancelled", partial, cancelledRecv)
		if partial == 0 && limit > 200_000 {
			t.Error("no Send ended in mid-frame: the test shows nothing")
		}
	})
}

func TestCancelOneOfMany(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		const n = 100
		cancels := make([]context.CancelFunc, n)
		results := make([]chan error, n)
		for i := range n {
			ctx, cancel := context.WithCancel(bg)
			cancels[i], results[i] = cancel, make(chan error, 1)
			go func() {
				_, err := r.Recv(ctx, make([]byte, 1))
				results[i] <- err
			}()
		}
		blocked()
		for _, i := range rand.Perm(n)[:n-10] {
			cancels[i]()
			var err error
			within(t, "cancelled Recv", func() { err = <-results[i] })
			wantErr(t, "cancelled Recv", err, context.Canceled)
			cancels[i] = nil
		}
		for i := range n {
			if cancels[i] != nil {
				select {
				case err := <-results[i]:
					t.Fatalf("an uncancelled Recv returned %v", err)
				default:
				}
			}
		}
		// Six of the ten get a message, a deadline of the user ends the others.
		for range 5 {
			must(t, s.Send(bg, []byte("x")))
		}
		must(t, s.Send(bg, nil))
		within(t, "six of ten", func() {
			for there := 0; there < 6; time.Sleep(time.Millisecond) {
				there = 0
				for i := range n {
					if cancels[i] != nil {
						there += len(results[i])
					}
				}
			}
		})
		must(t, r.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		got := map[bool]int{}
		for i := range n {
			if cancels[i] != nil {
				var err error
				within(t, "Recv", func() { err = <-results[i] })
				if err != nil {
					wantErr(t, "Recv", err, os.ErrDeadlineExceeded)
				}
				got[err == nil]++
				cancels[i]()
			}
		}
		if got[true] != 6 || got[false] != 4 {
			t.Errorf("%d messages and %d deadlines, want 6 and 4", got[true], got[false])
		}
	})
}

func TestCancelKeepsUserDeadline(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		var until time.Time
		for d, ended := 150*time.Millisecond, 0; ended < 3; d *= 2 {
			if d > hang {
				t.Fatal("the Conn's own deadline always comes first")
			}
			until = time.Now().Add(d)
			must(t, r.SetReadDeadline(until))
			for ended = 0; ended < 3; ended++ {
				ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
				_, err := r.Recv(ctx, make([]byte, 1))
				cancel()
				if time.Now().After(until) {
					break // the machine is busy
				}
				wantErr(t, "Recv", err, context.DeadlineExceeded)
			}
		}
		var err error
		within(t, "Recv", func() { _, err = r.Recv(bg, make([]byte, 1)) })
		wantErr(t, "Recv", err, os.ErrDeadlineExceeded)
		if errors.Is(err, context.DeadlineExceeded) || time.Now().Before(until) {
			t.Errorf("%v, %v early", err, time.Until(until))
		}
		// Set while a context has the descriptor's deadline in its hands.
		for range 200 {
			ctx, cancel := context.WithCancel(bg)
			must(t, r.SetReadDeadline(time.Time{}))
			done := make(chan error, 1)
			go func() { _, err := r.Recv(ctx, make([]byte, 1)); done <- err }()
			runtime.Gosched()
			go cancel()
			must(t, r.SetReadDeadline(time.Now().Add(-time.Second)))
			within(t, "Recv", func() { err = <-done })
			if !errors.Is(err, context.Canceled) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			within(t, "Recv", func() { _, err = r.Recv(bg, make([]byte, 1)) })
			wantErr(t, "the user's deadline, later", err, os.ErrDeadlineExceeded)
			cancel()
		}
		// And it can be lifted.
		must(t, r.SetReadDeadline(time.Time{}))
		must(t, s.Send(bg, []byte("x")))
		_, err = r.Recv(bg, make([]byte, 1))
		must(t, err)
	})
}

func TestEndedContext(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		ctx, cancel := context.WithCancel(bg)
		cancel()
		wantErr(t, "Send", s.Send(ctx, []byte("no")), context.Canceled)
		must(t, s.Send(bg, []byte("yes")))
		_, err := r.Recv(ctx, make([]byte, 9))
		wantErr(t, "Recv", err, context.Canceled)
		if got, err := r.RecvAlloc(bg, 9); err != nil || string(got) != "yes" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A user's deadline that is set just when a context has ended a wait must not
// lift the end of that wait.
func TestDeadlineSetWhileCancelling(t *testing.T) {
	s, r, err := pipe.Pair()
	must(t, err)
	closeAfter(t, s, r)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.SetReadDeadline(time.Now().Add(time.Hour))
				}
			}
		})
	}
	for range 2000 {
		ctx, cancel := context.WithCancel(bg)
		go cancel()
		within(t, "cancelled Recv", func() { _, err = r.Recv(ctx, nil) })
		wantErr(t, "Recv", err, context.Canceled)
	}
	close(stop)
	wg.Wait()
}
