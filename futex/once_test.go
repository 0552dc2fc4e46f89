package futex_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// once is a Once with what it is to make, in two halves.
type once struct {
	Once futex.Once
	A, B atomic.Int64
	Runs atomic.Int64
}

func (o *once) make(between func()) func() error {
	return func() error {
		o.Runs.Add(1)
		o.A.Store(1)
		between()
		o.B.Store(1)
		return nil
	}
}

type onceCall struct {
	Once *shm.Shared[once]
	Die  bool
}

var doOnce = proc.Register("doOnce", func(ctx context.Context, c onceCall) error {
	o := c.Once.Ptr()
	err := o.Once.Do(ctx, o.make(func() {
		if c.Die {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}))
	if err == nil && (o.A.Load() != 1 || o.B.Load() != 1) {
		err = errors.New("done by half")
	}
	return err
})

func startOnce(t testing.TB, s *shm.Shared[once], die bool) *proc.Process {
	t.Helper()
	p, err := doOnce.Start(within(t), onceCall{s, die})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Who is killed in f has done nothing: the next one runs it again, be it asleep
// by then or still to come.
func TestOnceKilledInside(t *testing.T) {
	s := newShared[once](t)
	for range 3 {
		if state, _ := startOnce(t, s, true).Wait(within(t)); state.Signal() != unix.SIGKILL {
			t.Fatalf("%v", state)
		}
	}
	var all []*proc.Process
	for range 4 {
		all = append(all, startOnce(t, s, false))
	}
	for _, p := range all {
		succeeds(t, p)
	}
	if n := s.Ptr().Runs.Load(); n != 4 {
		t.Errorf("f ran %d times, want 3 that died and one", n)
	}
}

func TestOnceWaitsForTheOther(t *testing.T) {
	s := newShared[once](t)
	o := s.Ptr()
	in, out := make(chan struct{}), make(chan struct{})
	first := make(chan error)
	go func() { first <- o.Once.Do(bg, o.make(func() { close(in); <-out })) }()
	<-in
	p := startOnce(t, s, false)
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	if err := o.Once.Do(ctx, o.make(func() {})); err != context.DeadlineExceeded {
		t.Errorf("Do, while another is at it: %v", err)
	}
	close(out)
	does(t, <-first)
	succeeds(t, p)
	if n := o.Runs.Load(); n != 1 {
		t.Errorf("f ran %d times", n)
	}
}

func TestOnceFails(t *testing.T) {
	s := newShared[once](t)
	o := &s.Ptr().Once
	errOwn := errors.New("not today")
	if err := o.Do(bg, func() error { return errOwn }); err != errOwn {
		t.Errorf("Do: %v", err)
	}
	func() {
		defer func() { recover() }()
		o.Do(bg, func() error { panic(errOwn) })
		t.Error("the panic is lost")
	}()
	runs := 0
	for range 3 {
		does(t, o.Do(within(t), func() error { runs++; return nil }))
	}
	if runs != 1 {
		t.Errorf("f ran %d times", runs)
	}
	var local futex.Once
	if err := local.Do(bg, func() error { return nil }); err != futex.ErrNotAttached {
		t.Errorf("Do in private memory: %v", err)
	}
}
