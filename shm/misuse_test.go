package shm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// A queue of each kind that is closed says so, whatever it is asked for.
func TestClosedQueues(t *testing.T) {
	q, m := newQueue[int](t, 4), newMessages(t, 1000)
	o, err := shm.NewObjectQueue[string](1000, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ Close() error }{q, m, o} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, buf := t.Context(), make([]byte, 8)
	for what, call := range map[string]func() error{
		"Queue.Send":               func() error { return q.Send(ctx, 1) },
		"Queue.SendBatch":          func() error { return second(q.SendBatch(ctx, []int{1, 2})) },
		"Queue.TrySend":            func() error { return second(q.TrySend(1)) },
		"Queue.Recv":               func() error { return second(q.Recv(ctx)) },
		"Queue.RecvBatch":          func() error { return second(q.RecvBatch(ctx, make([]int, 2))) },
		"Queue.TryRecv":            func() error { _, _, err := q.TryRecv(); return err },
		"Queue.CloseSend":          q.CloseSend,
		"Queue.Done":               q.Done,
		"Queue.Join":               func() error { return q.Join(ctx) },
		"Queue.Notify":             func() error { return second(q.Notify()) },
		"Queue.PassFiles":          func() error { return second(q.PassFiles()) },
		"Queue.Close":              q.Close,
		"MessageQueue.Send":        func() error { return m.Send(ctx, buf) },
		"MessageQueue.TrySend":     func() error { return second(m.TrySend(buf)) },
		"MessageQueue.Recv":        func() error { return second(m.Recv(ctx, buf)) },
		"MessageQueue.RecvAppend":  func() error { return second(m.RecvAppend(ctx, nil)) },
		"MessageQueue.TryRecv":     func() error { _, _, err := m.TryRecv(buf); return err },
		"MessageQueue.CloseSend":   m.CloseSend,
		"MessageQueue.PassFiles":   func() error { return second(m.PassFiles()) },
		"ObjectQueue.Send":         func() error { return o.Send(ctx, "a") },
		"ObjectQueue.TrySend":      func() error { return second(o.TrySend("a")) },
		"ObjectQueue.Recv":         func() error { return second(o.Recv(ctx)) },
		"ObjectQueue.TryRecv":      func() error { _, _, err := o.TryRecv(); return err },
		"a zero ObjectQueue, Send": func() error { return new(shm.ObjectQueue[int]).Send(ctx, 1) },
		"a zero Queue, TrySend":    func() error { return second(new(shm.Queue[int]).TrySend(1)) },
	} {
		if err := call(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v, want os.ErrClosed", what, err)
		}
	}
}

// Queues of bytes and of objects have names, too, and are found with the
// messages that wait in them, but not as something else.
func TestNamedQueues(t *testing.T) {
	ctx, bytesName, objectsName := t.Context(), freshName(t), freshName(t)
	m, err := shm.CreateMessageQueue(bytesName, 1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	o, err := shm.CreateObjectQueue[[]string](objectsName, 1000, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := errors.Join(m.Send(ctx, []byte("bytes")), o.Send(ctx, []string{"a", "b"})); err != nil {
		t.Fatal(err)
	}
	m2, err := shm.OpenMessageQueue(bytesName, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m2.Close()
	o2, err := shm.OpenObjectQueue[[]string](objectsName, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o2.Close()
	if b, err := m2.RecvAppend(ctx, nil); err != nil || string(b) != "bytes" {
		t.Errorf("got %q, %v", b, err)
	}
	if v, err := o2.Recv(ctx); err != nil || strings.Join(v, "") != "ab" {
		t.Errorf("got %q, %v", v, err)
	}
	for what, err := range map[string]error{
		"messages as objects": second(shm.OpenObjectQueue[string](bytesName, "", nil)),
		"objects as messages": second(shm.OpenMessageQueue(objectsName, nil)),
		"messages as a queue": second(shm.OpenQueue[int](bytesName, nil)),
	} {
		if !errors.Is(err, shm.ErrCorrupt) {
			t.Errorf("%s: %v, want %v", what, err, shm.ErrCorrupt)
		}
	}
	if err := second(shm.OpenObjectQueue[[]string](objectsName, "nobody's", nil)); err == nil || !strings.Contains(err.Error(), `"nobody's"`) {
		t.Errorf("an unknown codec: %v", err)
	}
	if err := second(shm.OpenQueue[*int](objectsName, nil)); err == nil || !strings.Contains(err.Error(), "means nothing in another process") {
		t.Errorf("a queue of pointers: %v", err)
	}
	if err := second(shm.OpenMessageQueue(freshName(t), nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such name: %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := m2.RecvAppend(over, nil); err != context.Canceled {
		t.Errorf("a context that is over: %v", err)
	}
}

// What a codec refuses is neither sent nor half sent.
func TestUnsendable(t *testing.T) {
	type unheard struct{ N int }
	type letter struct{ Any any }
	q, err := shm.NewObjectQueue[letter](1024, "")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Send(t.Context(), letter{unheard{1}}); err == nil {
		t.Error("Send: no error")
	}
	if ok, err := q.TrySend(letter{unheard{1}}); ok || err == nil {
		t.Errorf("TrySend: %t, %v", ok, err)
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d messages are there", n)
	}
}

// Commit of what was never reserved, by a handle that doesn't own the end or is
// closed, changes no memory.
func TestCommitUnowned(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	commits := func(w *shm.RingWriter, n int) {
		t.Helper()
		defer func() {
			if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "Commit") {
				t.Errorf("Commit panicked with %v", r)
			}
		}()
		w.Commit(n)
	}
	w, r, err := shm.NewRing(1)
	must(err)
	defer r.Close()
	must(w.Send(bg, make([]byte, 16)))
	files, err := w.PassFiles()
	must(err)
	fd, err := unix.FcntlInt(files[0].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(err)
	other := new(shm.RingWriter) // as in another process
	must(other.TakeFiles([]*os.File{os.NewFile(uintptr(fd), "ring")}))
	defer other.Close()
	commits(other, 0)
	if n, err := r.Recv(bg, make([]byte, 64)); n != 16 || err != nil {
		t.Errorf("got %d bytes, %v; want 16", n, err)
	}
	_, err = w.Reserve(bg, 8)
	must(err)
	must(w.Close())
	commits(w, 8)
}
