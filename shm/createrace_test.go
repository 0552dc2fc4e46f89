package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// contest is what those who create the same names share.
type contest struct {
	Start futex.Barrier
	Won   [50]atomic.Int32 // how many have created name i
}

type contestant struct {
	Contest *shm.Shared[contest]
	Name    string
}

func (c contestant) nameOf(i int) string { return fmt.Sprint(c.Name, "-", i) }

// race creates one name after the other, at the same time as all others.
func (c contestant) race(ctx context.Context) error {
	p := c.Contest.Ptr()
	for i := range p.Won {
		if _, err := p.Start.Wait(ctx); err != nil {
			return err
		}
		o, err := shm.Create(c.nameOf(i), 4096, nil)
		if err == nil {
			p.Won[i].Add(1)
			err = o.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

var raceToCreate = proc.Register("shm-create-race", func(ctx context.Context, c contestant) error { return c.race(ctx) })

// Whether the name is there and that it is made are one step: of two processes
// and two goroutines one creates each name.
func TestCase002CreateRaces(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	s, err := shm.New(func(c *contest) error { return c.Start.Init(4) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := contestant{s, newName(t)}
	for i := range s.Ptr().Won {
		defer shm.Unlink(c.nameOf(i))
	}
	var all sync.WaitGroup
	for range 2 {
		p, err := raceToCreate.Start(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if _, err := p.Wait(ctx); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := c.race(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range s.Ptr().Won {
		if n := s.Ptr().Won[i].Load(); n != 1 {
			t.Errorf("%d have created name %d, want 1", n, i)
		}
	}
}
