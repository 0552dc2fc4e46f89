package pipe_test

import (
	"context"
	"io"
	"os"
	"runtime"
	"sync/atomic"
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

// The kernel lets but 500 epoll instances that are in another one watch an open
// file. More waiters than that wait all the same.
func TestManyWaitersOfOneFile(t *testing.T) {
	const n = 520
	var lim unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	if lim.Cur < 3*n {
		t.Skipf("room for %d descriptors, and two for each of %d waiters are wanted", lim.Cur, n)
	}
	s, r, err := pipe.PacketPair()
	must(t, err)
	closeAfter(t, s, r)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	got := make(chan error, n)
	conns := make([]*pipe.Conn, n)
	for i := range conns {
		f, err := r.File()
		must(t, err)
		conns[i], err = pipe.FromFile(f)
		must(t, err)
		closeAfter(t, conns[i])
	}
	for _, c := range conns {
		go func() { _, err := c.Recv(ctx, make([]byte, 8)); got <- err }()
	}
	for range 10 {
		blocked()
	}
	for range 10 {
		must(t, s.Send(bg, []byte("x")))
	}
	for range 10 {
		within(t, "Recv", func() { must(t, <-got) })
	}
	cancel()
	for range n - 10 {
		within(t, "Recv", func() { wantErr(t, "Recv", <-got, context.Canceled) })
	}
}

// A large message that gets on all the time ends with its context, at a deadline,
// and with its Conn.
func TestBusySendEnds(t *testing.T) {
	big := make([]byte, 128<<20) // what is left of it is copied; the race detector takes 1 s for 100 MiB
	const few = 16 << 20         // what the kernel and a call of Read may hold
	for what, end := range map[string]func(*pipe.Conn, func()) error{
		"context":  func(_ *pipe.Conn, cancel func()) error { cancel(); return context.Canceled },
		"deadline": func(s *pipe.Conn, _ func()) error { s.SetWriteDeadline(time.Unix(1, 0)); return os.ErrDeadlineExceeded },
		"Close":    func(s *pipe.Conn, _ func()) error { s.Close(); return os.ErrClosed },
	} {
		for _, open := range []func() (*pipe.Conn, *pipe.Conn, error){pipe.Pair, func() (*pipe.Conn, *pipe.Conn, error) {
			r, w, err := pipe.OneWay()
			return w, r, err
		}} {
			s, r, err := open()
			must(t, err)
			var went atomic.Int64
			read := make(chan struct{})
			go func() {
				defer close(read)
				buf := make([]byte, 256<<10)
				for {
					n, err := r.Read(buf)
					if went.Add(int64(n)); err != nil {
						return
					}
				}
			}()
			ctx, cancel := context.WithCancel(bg)
			sent := make(chan error, 1)
			go func() { sent <- s.Send(ctx, big) }()
			for went.Load() == 0 {
				time.Sleep(100 * time.Microsecond)
			}
			want := end(s, cancel)
			before := went.Load()
			within(t, what, func() {
				// A busy machine may have let all of it through before.
				if err := <-sent; err != nil || before < int64(len(big)-few) {
					wantErr(t, what, err, want)
				}
			})
			if n := went.Load() - before; n > few {
				t.Errorf("%s: %d bytes went after it", what, n)
			}
			cancel()
			s.Close()
			r.Close()
			<-read
		}
	}
}

// After an error in the middle of a frame the peer must not take the next one for
// the rest of it.
func TestErrorInFrame(t *testing.T) {
	mem, err := unix.Mmap(-1, 0, 256<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	must(t, err)
	defer unix.Munmap(mem)
	must(t, unix.Mprotect(mem[128<<10:], unix.PROT_NONE))
	s, r, err := pipe.Pair()
	must(t, err)
	closeAfter(t, s)
	got := make(chan error, 1)
	go func() { _, err := r.RecvAlloc(bg, 1<<20); got <- err }()
	wantErr(t, "Send", s.Send(bg, mem), unix.EFAULT)
	wantErr(t, "the next Send", s.Send(bg, []byte("x")), unix.EFAULT)
	must(t, s.CloseWrite())
	within(t, "RecvAlloc", func() { wantErr(t, "RecvAlloc", <-got, io.ErrUnexpectedEOF) })
	must(t, r.Close())
}
