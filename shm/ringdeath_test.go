package shm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

var sendThree = proc.Register("shm_test/send three", func(ctx context.Context, w *shm.RingWriter) error {
	for i := range 3 {
		if err := w.Send(ctx, []byte{byte(i)}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
})

// What a dead writer had sent is received, then its death is told, whether the
// reader slept meanwhile or not; a new writer goes on.
func TestRingDeadWriter(t *testing.T) {
	ctx := watchdog(t, time.Minute)
	for _, asleep := range []bool{false, true} {
		w, r, err := shm.NewRing(1)
		if err != nil {
			t.Fatal(err)
		}
		p := started(t)(sendThree.Start(ctx, w))
		buf := make([]byte, 1)
		for i := range 3 {
			if n, err := r.Recv(ctx, buf); n != 1 || err != nil || buf[0] != byte(i) {
				t.Fatalf("Recv %d: %d, %v", buf[0], n, err)
			}
			if i == 2 && !asleep {
				p.Kill()
				p.Wait(ctx)
			}
		}
		if asleep {
			time.AfterFunc(20*time.Millisecond, func() { p.Kill() })
		}
		for range 2 {
			if _, err := r.Recv(ctx, buf); !errors.Is(err, shm.ErrPeerDead) {
				t.Errorf("asleep %t: Recv from a dead writer: %v", asleep, err)
			}
		}
		p.Wait(ctx)
		if err := w.Send(ctx, []byte{9}); err != nil {
			t.Errorf("a new writer: %v", err)
		}
		if n, err := r.Recv(ctx, buf); n != 1 || err != nil || buf[0] != 9 {
			t.Errorf("Recv from a new writer: %d, %d, %v", buf[0], n, err)
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		// Who left without dying may be followed by another.
		if _, err := r.Recv(short, buf); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Recv after the writer's Close: %v", err)
		}
		cancel()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

var recvOne = proc.Register("shm_test/receive one", func(ctx context.Context, r *shm.RingReader) error {
	if _, err := r.Recv(ctx, make([]byte, 5000)); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
})

// A writer who waits for room is told of the reader's death.
func TestRingDeadReader(t *testing.T) {
	ctx := watchdog(t, time.Minute)
	w, r, err := shm.NewRing(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	p := started(t)(recvOne.Start(ctx, r))
	msg := make([]byte, w.MaxMessage())
	for range 2 {
		if err := w.Send(ctx, msg); err != nil {
			t.Fatal(err)
		}
	}
	time.AfterFunc(20*time.Millisecond, func() { p.Kill() })
	if err := w.Send(ctx, msg); !errors.Is(err, shm.ErrPeerDead) {
		t.Errorf("Send to a dead reader: %v", err)
	}
	p.Wait(ctx)
	if n, err := r.Recv(ctx, make([]byte, len(msg))); n != len(msg) || err != nil {
		t.Errorf("a new reader: %d, %v", n, err)
	}
	if err := w.Send(ctx, msg); err != nil {
		t.Errorf("Send to a new reader: %v", err)
	}
}
