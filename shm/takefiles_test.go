package shm_test

import (
	"errors"
	"os"
	"testing"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

type taker interface {
	PassFiles() ([]*os.File, error)
	TakeFiles([]*os.File) error
	Close() error
}

// What a handle in use is given it refuses and closes, and stays what it is. A
// queue that was closed refuses it, too: it would never work, nor be closed.
func TestTakeFilesInUse(t *testing.T) {
	w, r := newRing(t, 1)
	s, err := shm.New[int](nil)
	must(t, err)
	q, o, v := newQueue[int](t, 1), newObjects[int](t, 100), newValue(t, 1)
	m := newMessages(t, 100)
	other, err := shm.NewObjectQueue[int](100, "hollow")
	must(t, err)
	defer other.Close()
	refuses := func(h, of taker, want error) {
		t.Helper()
		files := dupAll(t, of)
		if err := h.TakeFiles(files); !errors.Is(err, want) {
			t.Errorf("%T: %v, want %v", h, err, want)
		}
		for _, f := range files {
			if err := f.Close(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("%T: a descriptor stayed open: %v", h, err)
			}
		}
	}
	all := []taker{w, r, s, q, o, v, m, newArray(t, 1)}
	for _, h := range all {
		refuses(h, h, unix.EINVAL)
	}
	refuses(o, other, unix.EINVAL)
	must(t, q.Send(bg, 1), o.Send(bg, 7), w.Send(bg, []byte{1}))
	if n, err := o.Recv(bg); n != 7 || err != nil {
		t.Errorf("%d, %v: its codec was changed", n, err)
	}
	for _, h := range all {
		must(t, h.Close())
	}
	for _, h := range []taker{o, m} {
		refuses(h, other, os.ErrClosed)
	}
}
