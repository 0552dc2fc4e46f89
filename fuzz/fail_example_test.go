package fuzz_test

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/fuzz"
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

// A reader of a ring meets a peer who writes whatever comes to its mind.
func ExampleScribble() {
	_ = func(t *testing.T) {
		o, _ := shm.CreateAnon("victim", 4096, nil)
		defer o.Close()
		m, _ := o.Map(0, 4096, shm.ReadWrite)
		defer m.Close()
		var over atomic.Bool
		done := make(chan struct{})
		go func() { defer close(done); fuzz.Scribble(m.Bytes(), 1, over.Load) }()
		for range 1000 {
			v, err := shm.OpenValueAt[int](m, 0)
			if err != nil && !errors.Is(err, shm.ErrCorrupt) {
				t.Error(err)
			}
			if err == nil {
				v.Close()
			}
		}
		over.Store(true)
		<-done
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
