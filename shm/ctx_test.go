package shm_test

import (
	"context"
	"iter"
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
