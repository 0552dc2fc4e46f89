package shm_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"
)

// aloneAt makes a queue that this process alone uses at both ends, without locks.
func aloneAt(t *testing.T, capacity int) *shm.Queue[uint64] {
	t.Helper()
	if !shm.PlainAtOnce() {
		t.Skip("no stores without fences here, or no membarrier")
	}
	q := newQueue[uint64](t, capacity)
	for range 3 {
		if err := q.Send(bg, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Recv(bg); err != nil {
			t.Fatal(err)
		}
	}
	if !q.Alone(0) || !q.Alone(1) {
		t.Fatal("not alone")
	}
	return q
}

// anew is one more handle on a queue, and so one more member.
func anew[T any](t *testing.T, q *shm.Queue[T]) *shm.Queue[T] { return taken(t, q, new(shm.Queue[T])) }

// taken makes r the queue that q is, until the test ends.
func taken[H interface {
	PassFiles() ([]*os.File, error)
	TakeFiles([]*os.File) error
	Close() error
}](t *testing.T, q, r H) H {
	t.Helper()
	if err := r.TakeFiles(dupAll(t, q)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// Each end, and in it what each side writes, has cache lines of its own.
func TestQueueLines(t *testing.T) {
	for name, off := range shm.EndLines() {
		if off%128 != 0 {
			t.Errorf("%s: %d, not a multiple of 128", name, off)
		}
	}
}

// Whoever ends the stream was killed over it. A process that was alone at the
// sending end, and only tries to receive, learns of the end.
func TestAloneTryRecvEnd(t *testing.T) {
	q := aloneAt(t, 4)
	q.SetEnding()
	for range 100 {
		if _, ok, err := q.TryRecv(); err == io.EOF {
			return
		} else if ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	t.Error("100 times empty, and not at an end")
}

// A member that is alone at an end and rests there does not keep others from it who
// only try, even where they can't make the fence.
func TestAloneTryOnly(t *testing.T) {
	for _, forbid := range []bool{false, true} {
		q := aloneAt(t, 4)
		r := anew(t, q)
		if forbid {
			defer shm.ForbidFences()()
		}
		ok := false
		for end := time.Now().Add(10 * time.Second); !ok && time.Now().Before(end); time.Sleep(time.Millisecond) {
			var err error
			if ok, err = r.TrySend(2); err != nil {
				t.Fatal(err)
			}
		}
		if !ok {
			t.Errorf("membarrier forbidden: %t: TrySend is in vain for 10 s", forbid)
		}
	}
}

// A peer that changes the word all the time keeps nobody from the end of his context,
// or of a try.
func TestAloneHostileUser(t *testing.T) {
	q := aloneAt(t, 4)
	r := anew(t, q)
	word, times := q.User(0), uint64(0)
	defer shm.Between(func() {
		if times++; times == 1000 {
			t.Error("a call goes on for ever")
		}
		if times < 1000 {
			q.SetUser(0, word|times<<16)
		}
	})()
	gone, cancel := context.WithCancel(bg)
	cancel()
	for range 10 {
		_, err1 := r.TrySend(1)
		err2 := r.Send(gone, 1)
		for _, err := range []error{err1, err2} {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, shm.ErrCorrupt) {
				t.Error(err)
			}
		}
	}
}
