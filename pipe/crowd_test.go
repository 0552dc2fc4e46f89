package pipe_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// 10,000 blocked receivers over 4,000 pipes and socketpairs hold no threads; a
// context ends them all.
func TestBlockedReceiversNeedNoThreads(t *testing.T) {
	conns, receivers := 4000, 10_000
	if testing.Short() || raceEnabled { // which knows at most 8,128 goroutines
		conns, receivers = conns/10, receivers/10
	}
	var lim unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	if room := (int(lim.Cur) - 200) / 2; room < conns {
		t.Logf("RLIMIT_NOFILE is %d: %d Conns instead of %d", lim.Cur, room, conns)
		conns = room
	}
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var wg sync.WaitGroup
	var ended atomic.Int32
	send := make([]*pipe.Conn, conns)
	recv := make([]*pipe.Conn, conns)
	for i := range conns {
		s, r, err := kinds[i%3].open()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			t.Skip(err)
		}
		must(t, err)
		defer s.Close()
		defer r.Close()
		send[i], recv[i] = s, r
	}
	for i := range receivers {
		wg.Go(func() {
			_, err := recv[i%conns].Recv(ctx, make([]byte, 1))
			if err == nil {
				ended.Add(1)
				return
			}
			wantErrGo(t, "Recv", err, context.Canceled)
		})
	}
	time.Sleep(100 * time.Millisecond)
	names, err := os.ReadDir("/proc/self/task")
	must(t, err)
	t.Logf("%d blocked receivers of %d Conns, %d threads", receivers, conns, len(names))
	if len(names) >= 48+runtime.GOMAXPROCS(0) {
		t.Errorf("%d threads", len(names))
	}
	if n := ended.Load(); n != 0 {
		t.Errorf("%d had ended", n)
	}
	for _, s := range send {
		must(t, s.Send(bg, []byte("x")))
	}
	within(t, "receivers", func() {
		for int(ended.Load()) < conns {
			time.Sleep(time.Millisecond)
		}
	})
	cancel()
	all(t, "cancelled receivers", &wg)
	if n := int(ended.Load()); n != conns {
		t.Errorf("%d messages were received, %d sent", n, conns)
	}
}

// 100 senders blocked at one full Conn, cancelled one by one: what arrives is
// whole, and each message that Send accepted arrives once.
func TestCancelOneSenderOfMany(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		const senders, size = 100, 50_000
		var accepted [senders]atomic.Int32
		var wg sync.WaitGroup
		cancels := make([]context.CancelFunc, senders)
		for i := range senders {
			ctx, cancel := context.WithCancel(bg)
			cancels[i] = cancel
			wg.Go(func() {
				msg := make([]byte, size)
				for k := range msg {
					msg[k] = byte(i)
				}
				err := s.Send(ctx, msg)
				part := (*pipe.PartialError)(nil)
				if err == nil || errors.As(err, &part) {
					accepted[i].Add(1)
				}
				if err != nil {
					wantErrGo(t, "Send", err, context.Canceled)
				}
			})
		}
		blocked()
		for i := range senders {
			if i%2 == 0 {
				cancels[i]()
			}
		}
		go func() {
			wg.Wait()
			s.Flush(bg)
			s.CloseWrite()
		}()
		within(t, "receiving", func() {
			buf := make([]byte, size)
			for {
				n, err := r.Recv(bg, buf)
				if err != nil {
					break
				}
				for _, b := range buf[:n] {
					if b != buf[0] || n != size {
						t.Fatal("a torn message")
					}
				}
				accepted[buf[0]].Add(-1)
			}
		})
		for i := range accepted {
			if n := accepted[i].Load(); n != 0 {
				t.Errorf("sender %d: %+d", i, n)
			}
			cancels[i]()
		}
	})
}
