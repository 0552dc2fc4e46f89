package fuzz_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
)

// Who comes to a closed gate sleeps until somebody opens it. (To wake one, who then
// wakes the next, would be wrong: one who is killed with the wake keeps it.)
type gate struct{ closed atomic.Uint32 }

func (g *gate) pass() error {
	for g.closed.Load() != 0 {
		if err := futex.Wait(&g.closed, 1); err != nil {
			return err
		}
	}
	return nil
}

func (g *gate) open() error {
	g.closed.Store(0)
	_, err := futex.Wake(&g.closed, futex.All)
	return err
}

// The one who passes is the victim. One sleeps before it, one comes behind it, and
// the opener is there from the beginning, but waits until all of them sleep, or the
// victim is dead.
var passGate = fuzz.RegisterOp("gate/pass", 64, func(s *fuzz.Segment) fuzz.Op {
	g := (*gate)(unsafe.Pointer(&s.Mem[0]))
	pass := func(*fuzz.Cue) error { return g.pass() }
	return fuzz.Op{
		Init: func() error { g.closed.Store(1); return nil }, // or nobody would sleep
		Do:   g.pass,
		Check: func(bool) error {
			if g.closed.Load() != 0 {
				return errors.New("closed again")
			}
			return nil
		},
		Casts: []fuzz.Cast{{Name: "others", Peers: []fuzz.Peer{
			{Name: "opener", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
				c.Ready()
				c.Blocked()
				return g.open()
			}},
			{Name: "before", When: fuzz.Asleep, Run: pass},
			{Name: "behind", When: fuzz.Behind, Run: pass},
		}}},
	}
})

// Who waits is killed at each instruction, and asleep in the kernel: the others come
// through all the same.
func ExampleCast() {
	_ = func(t *testing.T) { // in your package: func TestPassKilled
		fuzz.KillEach(t, passGate, &fuzz.Options{Points: "all"})
	}
}
