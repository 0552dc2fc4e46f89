package pipe_test

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// A receiver that waits is watched by the poller; one that hasn't had to for a
// while is not, as that costs each sender.
func TestWatchedWhileWaiting(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		buf := make([]byte, 8)
		for range 3 {
			// On a busy machine the time may be over before there is a wait.
			for d := 5 * time.Millisecond; !r.Watched(); d *= 2 {
				if d > hang {
					t.Fatal("it waited unwatched")
				}
				ctx, cancel := context.WithTimeout(bg, d)
				_, err := r.Recv(ctx, buf)
				cancel()
				wantErr(t, "Recv", err, context.DeadlineExceeded)
			}
			for range 3 * pipe.CalmCalls {
				must(t, s.Send(bg, buf))
				_, err := r.Recv(bg, buf)
				must(t, err)
			}
			if r.Watched() {
				t.Fatal("still watched")
			}
		}
	})
}

// With no room for another descriptor the one that is there has to do: the wait
// is woken and cancelled all the same.
func TestWaitWithoutRoom(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		var lim unix.Rlimit
		must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
		buf := make([]byte, 8)
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: lim.Max}))
		ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
		_, err := r.Recv(ctx, buf)
		cancel()
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &lim))
		wantErr(t, "Recv", err, context.DeadlineExceeded)
		done := make(chan error, 1)
		recv := func() { _, err := r.Recv(bg, buf); done <- err }
		go recv()
		blocked()
		must(t, s.Send(bg, buf))
		within(t, "Recv", func() { must(t, <-done) })
		go recv()
		blocked()
		must(t, r.SetReadDeadline(time.Unix(1, 0)))
		within(t, "Recv", func() { wantErr(t, "Recv", <-done, os.ErrDeadlineExceeded) })
		must(t, r.SetReadDeadline(time.Time{}))
		go recv()
		blocked()
		must(t, r.Close())
		within(t, "Recv", func() { wantErr(t, "Recv", <-done, os.ErrClosed) })
	})
}

// Whoever has got the open file can make it block. That stops the call, never
// the program.
func TestBlockingOpenFile(t *testing.T) {
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	f, err := r.File()
	must(t, err)
	defer f.Close()
	must(t, unix.SetNonblock(rawFD(t, f), false))
	done := make(chan error, 1)
	go func() { _, err := r.Recv(bg, make([]byte, 8)); done <- err }()
	blocked()
	// A raw call that blocks would keep its P for ever, and stop this one.
	within(t, "the collector", runtime.GC)
	must(t, w.Send(bg, []byte("x")))
	within(t, "Recv", func() { must(t, <-done) })
}
