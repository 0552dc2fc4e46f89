package mq_test

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/mq"
)

// What each call says of a Queue that is closed, and of a context that is over.
func TestMisused(t *testing.T) {
	closed, _ := fresh(t, small(1))
	must(t, closed.Close())
	q, _ := fresh(t, small(1))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	buf := make([]byte, 64)
	file, err := os.Open(os.DevNull)
	must(t, err)
	must(t, file.Close())
	for _, c := range []struct {
		what string
		want error
		call func() error
	}{
		{"Send", os.ErrClosed, func() error { return closed.Send(t.Context(), nil, 0) }},
		{"TrySend", os.ErrClosed, func() error { _, err := closed.TrySend(nil, 0); return err }},
		{"Recv", os.ErrClosed, func() error { _, _, err := closed.Recv(t.Context(), buf); return err }},
		{"TryRecv", os.ErrClosed, func() error { _, _, _, err := closed.TryRecv(buf); return err }},
		{"Stat", os.ErrClosed, func() error { _, err := closed.Stat(); return err }},
		{"Notify", os.ErrClosed, func() error { return closed.Notify(t.Context()) }},
		{"SetDeadline", os.ErrClosed, func() error { return closed.SetDeadline(time.Now()) }},
		{"SetReadDeadline", os.ErrClosed, func() error { return closed.SetReadDeadline(time.Now()) }},
		{"SetWriteDeadline", os.ErrClosed, func() error { return closed.SetWriteDeadline(time.Now()) }},
		{"PassFiles", os.ErrClosed, func() error { _, err := closed.PassFiles(); return err }},
		{"Close", os.ErrClosed, closed.Close},
		{"a zero Queue", os.ErrInvalid, func() error { _, err := new(mq.Queue).PassFiles(); return err }},
		{"TakeFiles of a closed file", os.ErrClosed, func() error { return new(mq.Queue).TakeFiles([]*os.File{file}) }},

		{"Send", context.Canceled, func() error { return q.Send(over, nil, 0) }},
		{"Recv", context.Canceled, func() error { _, _, err := q.Recv(over, buf); return err }},
		{"Notify", context.Canceled, func() error { return q.Notify(over) }},
	} {
		within(t, c.what, func() { wantErr(t, c.what, c.call(), c.want) })
	}
	// A deadline for both directions at once, and none again.
	must(t, q.SetDeadline(time.Now()))
	_, _, err = q.Recv(t.Context(), buf)
	wantErr(t, "Recv after the deadline", err, os.ErrDeadlineExceeded)
	must(t, q.SetDeadline(time.Time{}))
	must(t, q.Send(t.Context(), []byte("still"), 1))
	n, _, err := q.Recv(t.Context(), buf)
	if must(t, err); string(buf[:n]) != "still" {
		t.Errorf("got %q", buf[:n])
	}
}

// Who passes no context is told so, and if he recovers nobody's turn is gone.
func TestNilContext(t *testing.T) {
	q, _ := fresh(t, small(1))
	var none context.Context
	buf := make([]byte, 64)
	for what, call := range map[string]func(){
		"Send":   func() { q.Send(none, nil, 0) },
		"Recv":   func() { q.Recv(none, buf) },
		"Notify": func() { q.Notify(none) },
	} {
		func() {
			defer func() {
				if got := recover(); got != "mq: nil context" {
					t.Errorf("%s: panic is %v", what, got)
				}
			}()
			call()
		}()
	}
	within(t, "Send and Recv", func() {
		must(t, q.Send(t.Context(), nil, 1))
		_, _, err := q.Recv(t.Context(), buf)
		must(t, err)
	})
}

// Who asks for the descriptor itself may wait for it, and the Queue goes on as
// before; closed, it says so.
func TestSyscallConnWaits(t *testing.T) {
	q, _ := fresh(t, small(2))
	rc, err := q.SyscallConn()
	must(t, err)
	must(t, rc.Write(func(uintptr) bool { return true }))
	var looks atomic.Int32
	var sent atomic.Bool
	done := make(chan error, 1)
	go func() { done <- rc.Read(func(uintptr) bool { looks.Add(1); return sent.Load() }) }()
	until(t, "looking", func() bool { return looks.Load() > 0 })
	blocked()
	sent.Store(true)
	must(t, q.Send(t.Context(), []byte("x"), 1))
	within(t, "Read", func() { must(t, <-done) })
	if looks := looks.Load(); looks != 2 {
		t.Errorf("%d looks, want 2: before and after the message", looks)
	}
	buf := make([]byte, 64)
	if n, _, err := q.Recv(t.Context(), buf); err != nil || string(buf[:n]) != "x" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _, err = q.Recv(soon, buf)
	wantErr(t, "Recv", err, context.DeadlineExceeded)
	must(t, q.Close())
	for what, call := range map[string]func(func(uintptr) bool) error{"Read": rc.Read, "Write": rc.Write} {
		within(t, what, func() { wantErr(t, what, call(func(uintptr) bool { return true }), os.ErrClosed) })
	}
	wantErr(t, "Control", rc.Control(func(uintptr) {}), os.ErrClosed)
}
