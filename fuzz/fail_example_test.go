package fuzz_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// Every system call that opening a file makes fails, with one error
// after the other: what is reported must wrap it, nothing may be left behind,
// and the second try must do.
func ExampleFailEach() {
	_ = func(t *testing.T) { // in your package: func TestErrnos
		fuzz.FailEach(t, &fuzz.Faults{Errnos: []unix.Errno{unix.EMFILE, unix.ENOMEM}},
			fuzz.Making(func() (*os.File, error) { return os.Open("/dev/null") }, nil))
	}
}

// A process that sends what lies in memory waits for room; the system call of its
// sleep fails, too. The second try may find room or not.
func ExampleBlocking() {
	_ = func(t *testing.T) {
		full := func() (*shm.Queue[int], error) {
			q, err := shm.NewQueue[int](1)
			if err == nil {
				err = q.Send(t.Context(), 1)
			}
			return q, err
		}
		send := func(q *shm.Queue[int]) error { return q.Send(t.Context(), 2) }
		recv := func(q *shm.Queue[int]) error { _, err := q.Recv(t.Context()); return err }
		fuzz.FailEach(t, &fuzz.Faults{Spare: []string{"futex_wake"}}, fuzz.Blocking(full, send, recv, recv))
	}
}

// The hostile peer of [ExampleScribble] is a process of its own: it takes over the
// file, and writes whatever comes to its mind until it is killed.
var scribbler = proc.Register("fuzz_test/scribbler", func(ctx context.Context, f *os.File) error {
	o, err := shm.FromFile(f, nil)
	if err != nil {
		return err
	}
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	fuzz.Scribble(m.Bytes(), 1, func() bool { return ctx.Err() != nil })
	return nil
})

// A reader of a value meets a peer who writes whatever comes to its mind.
func ExampleScribble() {
	_ = func(t *testing.T) { // TestMain is fuzz.Main
		o, err := shm.CreateAnon("victim", 4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		m, err := o.Map(0, 4096, shm.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		good, err := shm.NewValueAt(m, 0, 7) // for it to begin with
		if err != nil {
			t.Fatal(err)
		}
		defer good.Close()
		p, err := scribbler.Start(t.Context(), o.File())
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			v, err := shm.OpenValueAt[int](m, 0)
			if err != nil && !errors.Is(err, shm.ErrCorrupt) && !errors.Is(err, shm.ErrNamespace) {
				t.Error(err) // and no panic, no hang, no memory without end
			}
			if err == nil {
				v.Close()
			}
		}
		p.Kill()
		p.Wait(t.Context())
	}
}

// What happens where /dev/shm is all but full, the queues are nobody else's, or
// the machine has been up for years.
func ExampleApart_Run() {
	_ = func(t *testing.T) { // in your package: func TestFullMemory
		fuzz.Apart{Memory: 64 << 10}.Run(t, func(t *testing.T) {
			if _, err := shm.Create("large", 1<<20, nil); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%v, want ENOSPC", err)
			}
		})
	}
}
