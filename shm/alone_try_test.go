package shm_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"
)

// Who is alone waits for more room than there is. Another one's small message would
// fit, but its time has not come: to try is in vain, and what is sent is not lost.
func TestAloneTryBesideCall(t *testing.T) {
	if !shm.PlainAtOnce() {
		t.Skip("no stores without fences here, or no membarrier")
	}
	ctx := watchdog(t, time.Minute)
	q, buf := newMessages(t, 256), make([]byte, 256)
	for range 3 {
		if err := q.Send(ctx, buf[:8]); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Recv(ctx, buf); err != nil {
			t.Fatal(err)
		}
	}
	r := taken(t, q, new(shm.MessageQueue))
	first, large := bytes.Repeat([]byte{1}, 150), bytes.Repeat([]byte{2}, 150)
	if err := q.Send(ctx, first); err != nil || !q.Alone(0) {
		t.Fatal("not alone", err)
	}
	sent := make(chan error, 1)
	go func() { sent <- q.Send(ctx, large) }()
	asleepIn(t, r.SenderSleeps)
	for range 3 {
		if ok, err := r.TrySend([]byte("x")); ok || err != nil {
			t.Errorf("TrySend beside a call: %t, %v", ok, err)
		}
	}
	late, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := r.Send(late, []byte("x")); err != context.DeadlineExceeded {
		t.Errorf("Send beside a call: %v", err)
	}
	for _, want := range [][]byte{first, large} {
		if got, err := r.RecvAppend(ctx, nil); !bytes.Equal(got, want) || err != nil {
			t.Errorf("received %x, %v, want %x", got, err, want)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if ok, err := r.TrySend([]byte("x")); !ok || err != nil {
		t.Errorf("TrySend after the call: %t, %v", ok, err)
	}
	if n := q.Len(); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}
