package mq_test

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/mq"
)

// wait passes the time without a timer, which would be too coarse.
func wait(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// A message that comes at any moment of a wait is found: before the first look,
// between looks, when the receiver is about to park and after. The same for room
// that a sender waits for.
func TestFoundAtAnyMoment(t *testing.T) {
	q, _ := fresh(t, small(1))
	in, out := make([]byte, 64), make([]byte, 64)
	done := make(chan error)
	for i := range times(200, 1000, 10_000) {
		go func() {
			_, _, err := q.Recv(bg, in)
			done <- err
		}()
		wait(time.Duration(rand.IntN(150)) * time.Microsecond)
		out[0] = byte(i)
		within(t, "Send and Recv", func() {
			must(t, q.Send(bg, out, 0))
			must(t, <-done)
		})
		if in[0] != byte(i) {
			t.Fatalf("got message %d, not %d", in[0], byte(i))
		}
		must(t, q.Send(bg, out, 0)) // it is full
		go func() { done <- q.Send(bg, out, 0) }()
		wait(time.Duration(rand.IntN(150)) * time.Microsecond)
		within(t, "Recv and Send", func() {
			_, _, err := q.Recv(bg, in)
			must(t, err)
			must(t, <-done)
			_, _, err = q.Recv(bg, in)
			must(t, err)
		})
	}
}

// A context, a deadline and Close end a wait at any moment.
func TestEndedAtAnyMoment(t *testing.T) {
	q, _ := fresh(t, small(1))
	done := make(chan error)
	for i := range times(100, 1000, 10_000) {
		ctx, cancel := context.WithCancel(bg)
		go func() {
			_, _, err := q.Recv(ctx, make([]byte, 64))
			done <- err
		}()
		wait(time.Duration(rand.IntN(120)) * time.Microsecond)
		want := context.Canceled
		if i%2 == 0 {
			cancel()
		} else {
			want = os.ErrDeadlineExceeded
			must(t, q.SetReadDeadline(time.Unix(1, 0)))
		}
		within(t, "ending", func() { wantErr(t, "Recv", <-done, want) })
		cancel()
		must(t, q.SetReadDeadline(time.Time{}))
	}
}

// Who is looking when the Queue is closed never touches the descriptor's number
// again: here another queue has got it, with a message in it.
func TestCloseWhileLooking(t *testing.T) {
	name, otherName := freshName(), freshName()
	for _, name := range []string{name, otherName} {
		q, err := mq.Create(name, small(1))
		must(t, err)
		defer mq.Unlink(name)
		must(t, q.Close())
	}
	for i := range times(200, 1000, 10_000) {
		q, err := mq.Open(name, os.O_RDWR)
		must(t, err)
		done := make(chan error)
		go func() {
			_, _, err := q.Recv(bg, make([]byte, 64))
			done <- err
		}()
		wait(time.Duration(rand.IntN(60)) * time.Microsecond)
		must(t, q.Close())
		other, err := mq.Open(otherName, os.O_RDWR)
		must(t, err)
		must(t, other.Send(bg, nil, 0))
		within(t, "Recv", func() { wantErr(t, "Recv", <-done, os.ErrClosed) })
		if st, err := other.Stat(); err != nil || st.Messages != 1 {
			t.Fatalf("round %d: the other queue's message is gone: %v, %v", i, st, err)
		}
		_, _, _, err = other.TryRecv(make([]byte, 64))
		must(t, err)
		must(t, other.Close())
	}
}
