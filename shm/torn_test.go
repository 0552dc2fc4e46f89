package shm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// torn is where several processes write and read.
type torn struct {
	Value *shm.Value[[64]uint64]
	Array *shm.Array[uint64]
	Count *shm.Value[uint64]
	Stop  *shm.Value[bool]
	Write bool
}

var tear = proc.Register("tear", func(ctx context.Context, a torn) error {
	for n := uint64(os.Getpid()); !a.Stop.Load(); n++ {
		x := a.Value.Load()
		for i := range x {
			if x[i] != x[0] {
				return fmt.Errorf("a mixture: %x", x)
			}
		}
		err := a.Array.Update(func(xs []uint64) error {
			for i := range xs {
				if xs[i] != xs[0] {
					return fmt.Errorf("a mixture: %x", xs)
				}
			}
			for i := range xs {
				xs[i] = n
			}
			return nil
		})
		if errors.Is(err, futex.ErrOwnerDead) { // killed beside us: the first of us repairs
			err = a.Array.Recover(func(xs []uint64) error { copy(xs, make([]uint64, len(xs))); return nil })
		}
		if err != nil {
			return err
		}
		if !a.Write {
			continue
		}
		for i := range x {
			x[i] = n
		}
		if n%2 == 0 {
			err = a.Value.Store(x)
		} else {
			err = a.Value.Update(func(y *[64]uint64) error { *y = x; return nil })
		}
		if _, aerr := shm.Add(a.Count, 1); err != nil || aerr != nil {
			return errors.Join(err, aerr)
		}
	}
	return nil
})

// Two processes write and two read, as fast as they can; some are killed and
// replaced. Nobody ever sees a mixture.
func TestTornReads(t *testing.T) {
	ctx, cancel := context.WithTimeout(bg, 60*time.Second)
	defer cancel()
	a := torn{
		Value: newValue(t, [64]uint64{}), Array: newArray(t, make([]uint64, 32)...),
		Count: newValue(t, uint64(0)), Stop: newValue(t, false),
	}
	start := func(write bool) *proc.Process {
		b := a
		b.Write = write
		p, err := tear.Start(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ps := []*proc.Process{start(true), start(true), start(false), start(false)}
	rounds := 10
	if testing.Short() || raceEnabled {
		rounds = 3
	}
	for i := range rounds {
		time.Sleep(50 * time.Millisecond)
		k := i % len(ps)
		ps[k].Kill()
		if _, err := ps[k].Wait(ctx); err != nil && !strings.Contains(err.Error(), "killed") {
			t.Error(err)
		}
		ps[k] = start(k < 2)
	}
	a.Stop.Store(true)
	for _, p := range ps {
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d writes", a.Count.Load())
}
