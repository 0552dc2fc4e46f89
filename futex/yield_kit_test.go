package futex_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// A yielder is one of two that have turns: Turn counts them.
type yielder struct {
	Game *shm.Shared[struct{ Turn, Met, Missed atomic.Uint32 }]
	Who  uint32
}

const yieldTurns = 400

var playYielder = proc.Register("futex_test/yielder", func(ctx context.Context, y yielder) error {
	g := y.Game.Ptr()
	var s futex.Spinner
	for i := y.Who; i < yieldTurns; i += 2 {
		mine := func() bool { return g.Turn.Load() == i }
		for !mine() {
			if s.Wait(false, mine) {
				g.Met.Add(1)
				break
			}
			g.Missed.Add(1)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(20 * time.Microsecond)
		}
		g.Turn.Store(i + 1)
	}
	return nil
})

// yieldsMet is the part of the waits in a game on one CPU that ended without
// sleep.
func yieldsMet(t *testing.T) float64 {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !set.IsSet(cpu) {
		cpu++
	}
	ctx, g := within(t), newShared[struct{ Turn, Met, Missed atomic.Uint32 }](t)
	var ps []*proc.Process
	for who := range uint32(2) {
		p, err := playYielder.StartCmd(ctx, &proc.Cmd{CPUs: []int{cpu}}, yielder{g, who})
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	for _, p := range ps {
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	met, missed := g.Ptr().Met.Load(), g.Ptr().Missed.Load()
	return float64(met) / float64(met+missed)
}
