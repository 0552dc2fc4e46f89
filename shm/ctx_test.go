package shm_test

import (
	"context"
	"io"
	"iter"
	"os"
	"testing"

	"github.com/rawipc/rawipc/shm"
)

func newObjects[T any](t testing.TB, capacity int) *shm.ObjectQueue[T] {
	t.Helper()
	q, err := shm.NewObjectQueue[T](capacity, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("number %d: %v", i, err)
		}
	}
}

// All ends with its context though the queue is never empty, and loses nothing.
func TestAllOfTheNeverEmpty(t *testing.T) {
	q, m, o := newQueue[int](t, 4), newMessages(t, 1000), newObjects[int](t, 1000)
	endless(t, q.All, func() error { return q.Send(bg, 1) }, q.Len)
	endless(t, m.All, func() error { return m.Send(bg, []byte{1}) }, m.Len)
	endless(t, o.All, func() error { return o.Send(bg, 1) }, o.Len)
}

func endless[T any](t *testing.T, all func(context.Context) iter.Seq2[T, error], send func() error, length func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := send(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range all(ctx) {
		if err != nil {
			if err != context.Canceled || n != 3 || length() != 1 {
				t.Errorf("%T: %v after %d messages, %d are left; want %v after 3, 1", *new(T), err, n, length(), context.Canceled)
			}
			return
		}
		if n++; n == 3 {
			cancel()
		}
		if n == 1000 {
			t.Fatalf("%T: 1000 messages after the context's end", *new(T))
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("%T: no error", *new(T))
}

// A call without a context says so, and leaves nothing behind: what it needs is
// there for others, and the handle can be closed.
func TestNilContext(t *testing.T) {
	var none context.Context
	q, m, o := newQueue[int](t, 1), newMessages(t, 64), newObjects[int](t, 64)
	v, a := newValue(t, point{}), newArray(t, 1, 2)
	w, r := newRing(t, 1)
	refuses := func(what, want string, call func()) {
		t.Helper()
		defer func() {
			if got := recover(); got != want {
				t.Errorf("%s: panic with %v, want %q", what, got, want)
			}
		}()
		call()
	}
	const noContext, noFunction = "shm: nil context", "shm: nil function"
	buf, largest := make([]byte, 64), make([]byte, w.MaxMessage())
	for round := range 2 { // what has to wait, with an empty queue and a full one
		refuses("Queue.Recv", noContext, func() { q.Recv(none) })
		refuses("Queue.RecvBatch", noContext, func() { q.RecvBatch(none, make([]int, 1)) })
		refuses("Queue.All", noContext, func() {
			for range q.All(none) {
			}
		})
		refuses("Queue.Send", noContext, func() { q.Send(none, 1) })
		refuses("Queue.SendBatch", noContext, func() { q.SendBatch(none, []int{1}) })
		refuses("Queue.Join", noContext, func() { q.Join(none) })
		refuses("Queue.CloseSendContext", noContext, func() { q.CloseSendContext(none) })
		refuses("MessageQueue.Recv", noContext, func() { m.Recv(none, buf) })
		refuses("MessageQueue.RecvAppend", noContext, func() { m.RecvAppend(none, nil) })
		refuses("MessageQueue.Send", noContext, func() { m.Send(none, buf[:50]) })
		refuses("ObjectQueue.Recv", noContext, func() { o.Recv(none) })
		refuses("ObjectQueue.Send", noContext, func() { o.Send(none, 1) })
		if round == 0 {
			refuses("RingReader.Recv", noContext, func() { r.Recv(none, buf) })
			refuses("RingReader.Peek", noContext, func() { r.Peek(none) })
			must(t, q.Send(bg, 1), m.Send(bg, buf[:50]), o.Send(bg, 1), w.Send(bg, largest))
			continue
		}
		refuses("RingWriter.Send", noContext, func() { w.Send(none, buf) })
		refuses("RingWriter.Reserve", noContext, func() { w.Reserve(none, 1) })
	}
	refuses("Value.UpdateContext", noContext, func() { v.UpdateContext(none, func(*point) error { return nil }) })
	refuses("Value.Update", noFunction, func() { v.Update(nil) })
	refuses("Array.UpdateContext", noContext, func() { a.UpdateContext(none, func([]int) error { return nil }) })
	refuses("Array.Update", noFunction, func() { a.Update(nil) })
	refuses("Array.RecoverContext", noContext, func() { a.RecoverContext(none, func([]int) error { return nil }) })
	refuses("Array.Recover", noFunction, func() { a.Recover(nil) })

	ctx := watchdog(t, hang) // of other handles, as in another process
	var q2 shm.Queue[int]
	var m2 shm.MessageQueue
	var o2 shm.ObjectQueue[int]
	must(t, q2.TakeFiles(dupAll(t, q)), m2.TakeFiles(dupAll(t, m)), o2.TakeFiles(dupAll(t, o)))
	_, qerr := q2.Recv(ctx)
	_, merr := m2.Recv(ctx, buf)
	_, oerr := o2.Recv(ctx)
	_, rerr := r.Recv(ctx, largest)
	must(t, qerr, merr, oerr, rerr, q2.Send(ctx, 2), m2.Send(ctx, buf[:50]), o2.Send(ctx, 2), w.Send(ctx, largest),
		v.Store(point{}), a.Store(0, 1), q.Close(), m.Close(), o.Close(), q2.Close(), m2.Close(), o2.Close(),
		v.Close(), a.Close(), w.Close(), r.Close())
}

// The waits that are no receiver's and no sender's end with their context, too.
// A stream that was to end ends, though nobody waited for it.
func TestOtherWaitsEnd(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	q := newQueue[int](t, 2)
	must(t, q.Send(bg, 1))
	give, err := q.TakeEnd(0)
	must(t, err)
	if err := q.CloseSendContext(over); err != context.Canceled {
		t.Errorf("CloseSendContext: %v, want %v", err, context.Canceled)
	}
	give()
	if err := q.Send(bg, 2); err != os.ErrClosed {
		t.Errorf("Send: %v, want %v", err, os.ErrClosed)
	}
	ctx := watchdog(t, hang)
	n, err := q.Recv(ctx)
	if _, end := q.Recv(ctx); n != 1 || err != nil || end != io.EOF {
		t.Errorf("received %d, %v, then %v; want 1, no error, then %v", n, err, end, io.EOF)
	}

	o := newObjects[string](t, 4096)
	must(t, o.CloseSendContext(ctx))
	if err := o.Send(bg, "late"); err != os.ErrClosed {
		t.Errorf("Send: %v, want %v", err, os.ErrClosed)
	}

	a := newArray(t, 1)
	must(t, a.Update(func([]int) error {
		if err := a.RecoverContext(over, func([]int) error { return nil }); err != context.Canceled {
			t.Errorf("RecoverContext: %v, want %v", err, context.Canceled)
		}
		return nil
	}))
}
