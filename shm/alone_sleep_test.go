package shm_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"
)

// A page takes some time to be seen by others: so long is what comes after it unseen.
type page [256]uint64

// Who goes to sleep at an end is woken by a member that is alone at the other one,
// also when that ceases to be alone, or begins to be, at that moment.
func TestAloneLosesNoWake(t *testing.T) {
	twoCPUs(t)
	if !shm.PlainAtOnce() {
		t.Skip("no stores without fences here, or no membarrier")
	}
	n := int64(20_000)
	switch {
	case runtime.GOMAXPROCS(0) == 1: // who goes to sleep keeps the other one for 2 ms
		n = 200
	case *long:
		n = 500_000
	case testing.Short() || raceEnabled:
		n = 5_000
	}
	for _, c := range []struct {
		name        string
		asks, fresh int64 // each so many messages
	}{{"alone", 0, 0}, {"asked", 3, 4}, {"fresh", 0, 2}} {
		t.Run(c.name, func(t *testing.T) {
			q := newQueue[page](t, 4)
			r, third := anew(t, q), anew(t, q)
			r.Len()
			third.Len()
			r.NeverSpin()
			ctx := watchdog(t, time.Minute)
			var got atomic.Int64
			go func() {
				for range n {
					for {
						short, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
						_, err := r.Recv(short)
						cancel()
						if err == nil {
							break
						}
						if ctx.Err() != nil {
							return
						}
					}
					got.Add(1)
				}
			}()
			late, beat := 0, startPulse(t)
			var v page
			for i := range n {
				if c.fresh > 0 && i%c.fresh == 0 {
					q.SetUser(0, 0)
				}
				for end := clock() + i*7919%4000; clock() < end; { // when he falls asleep
				}
				s := q
				if c.asks > 0 && i%c.asks == 1 {
					s = third
				}
				if err := s.Send(ctx, v); err != nil {
					t.Fatal(err)
				}
				for start := time.Now(); got.Load() <= i; runtime.Gosched() {
					if time.Since(start) > 300*time.Millisecond {
						if pause := beat.longest(start); pause < 100*time.Millisecond {
							late++
						} else {
							t.Logf("message %d is late, but all stood still for %v", i, pause)
						}
						if late > 3 {
							t.Fatalf("message %d is late, as others were", i)
						}
						for got.Load() <= i && ctx.Err() == nil {
							time.Sleep(time.Millisecond)
						}
					}
				}
			}
			if late > 0 {
				t.Errorf("%d of %d messages were late", late, n)
			}
		})
	}
}
