package pool_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pool"
)

var long = flag.Bool("long", false, "also run the forms of the tests that take minutes")

// Calls on 8 workers, a random one of which is killed every few milliseconds:
// each call has one outcome, right or a WorkerError, and the pool ends whole.
func TestChaos(t *testing.T) {
	d := 5 * time.Second
	if *long {
		d = 2 * time.Minute
	} else if testing.Short() {
		d = 700 * time.Millisecond
	}
	const size = 8
	p, ctx := newPool(t, size), bg
	watchdog := time.AfterFunc(d+hang, func() { panic("pool_test: a call hangs") })
	defer watchdog.Stop()
	var right, died, kills atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(d)
	chaos := func() bool { return kills.Load() >= 10 && right.Load() > 0 && died.Load() > 0 }
	more := func() bool { // longer where a loaded machine has not brought about what shall be seen
		return time.Now().Before(end) || !chaos() && time.Now().Before(end.Add(hang/2))
	}
	for c := range size {
		all.Go(func() {
			for i := c; more(); i += size {
				n, err := slowDouble.Call(ctx, p, i)
				if dead := (*pool.WorkerError)(nil); errors.As(err, &dead) && dead.State.Signal() == syscall.SIGKILL {
					died.Add(1)
				} else if n != 2*i || err != nil {
					t.Errorf("call %d: %d, %v", i, n, err)
					return
				} else {
					right.Add(1)
				}
			}
		})
	}
	all.Go(func() {
		for more() {
			time.Sleep(time.Duration(1+rand.IntN(5)) * time.Millisecond)
			if ws := p.Stats().Workers; len(ws) > 0 {
				// Its parent is this process, which has not reaped it while it is
				// in Stats: hardly another one can have its number.
				if syscall.Kill(ws[rand.IntN(len(ws))].Pid, syscall.SIGKILL) == nil {
					kills.Add(1)
				}
			}
		}
	})
	all.Wait()
	healthy(t, p, size)
	t.Logf("%d kills; %d calls were right, %d had their worker killed", kills.Load(), right.Load(), died.Load())
	if !chaos() {
		t.Error("that is no chaos")
	}
}

var slowDouble = pool.Register("slowDouble", func(_ context.Context, n int) (int, error) {
	time.Sleep(300 * time.Microsecond)
	return 2 * n, nil
})

// All workers killed at once, idle and busy.
func TestAllKilled(t *testing.T) {
	p := newPool(t, 4)
	for range 3 {
		busy := sleep.Go(within(t), p, hang)
		until(t, "a busy worker", func() bool {
			for _, w := range p.Stats().Workers {
				if w.Func == "sleep" {
					return true
				}
			}
			return false
		})
		for _, w := range p.Stats().Workers {
			syscall.Kill(w.Pid, syscall.SIGKILL)
		}
		if _, err := busy.Wait(within(t)); !errors.As(err, new(*pool.WorkerError)) {
			t.Error(err)
		}
		healthy(t, p, 4)
	}
}
