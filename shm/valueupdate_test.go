package shm_test

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"
)

func adds[T shm.Number](t *testing.T, from, d, want T) {
	t.Helper()
	v := newValue(t, from)
	got, err := shm.Add(v, d)
	if got != want || v.Load() != want || err != nil {
		t.Errorf("%T: %v + %v = %v, %v; then %v", from, from, d, got, err, v.Load())
	}
	// What was carried over an integer's end is not in anybody's way.
	if err := v.Update(func(x *T) error { *x += d; return nil }); err != nil || v.Load() != want+d {
		t.Errorf("%T: Update to %v, %v, want %v", from, v.Load(), err, want+d)
	}
	v.Close()
	if _, err := shm.Add(v, d); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAdd(t *testing.T) {
	type named uint8
	adds(t, 1, 2, 3)
	adds[int8](t, math.MaxInt8, 1, math.MinInt8)
	adds[int16](t, 5, -6, -1)
	adds[int32](t, -1, 1, 0)
	adds[int64](t, math.MaxInt64, 1, math.MinInt64)
	adds[uint](t, 7, 8, 15)
	adds[named](t, 250, 10, 4)
	adds[uint16](t, math.MaxUint16, 2, 1)
	adds[uint32](t, math.MaxUint32, 1, 0)
	adds[uint64](t, math.MaxUint64, 1, 0)
	adds[float32](t, 1.5, 0.25, 1.75)
	adds(t, 1e300, -1e300, 0)
}

// Add and Update together lose nothing.
func TestAddBesideUpdate(t *testing.T) {
	v := newValue(t, int32(0))
	f := newValue(t, 0.0)
	const each = 2000
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for range each {
				shm.Add(v, 1)
				shm.Add(f, 1)
			}
		})
		all.Go(func() {
			for range each {
				v.Update(func(x *int32) error { *x++; return nil })
				f.Update(func(x *float64) error { *x++; return nil })
			}
		})
	}
	all.Wait()
	if v.Load() != 4*each || f.Load() != 4*each {
		t.Errorf("%v and %v, want %v", v.Load(), f.Load(), 4*each)
	}
}

// An Update waits for another one, and leaves when its context ends.
func TestUpdateContext(t *testing.T) {
	small, large := newValue(t, 1), newValue(t, all(1))
	a := newArray(t, 1)
	inside, leave := make(chan bool), make(chan bool)
	hold := func() error { inside <- true; <-leave; return nil }
	ctx, cancel := context.WithCancel(bg)
	cancel()
	for _, c := range []struct {
		name   string
		hold   func() error
		update func() error
	}{
		{"small", func() error { return small.Update(func(*int) error { return hold() }) },
			func() error { return small.UpdateContext(ctx, func(*int) error { return nil }) }},
		{"large", func() error { return large.Update(func(*five) error { return hold() }) },
			func() error { return large.UpdateContext(ctx, func(*five) error { return nil }) }},
		{"array", func() error { return a.Update(func([]int) error { return hold() }) },
			func() error { return a.UpdateContext(ctx, func([]int) error { return nil }) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			done := make(chan error)
			go func() { done <- c.hold() }()
			<-inside
			if err := c.update(); !errors.Is(err, context.Canceled) {
				t.Errorf("while another one runs: %v", err)
			}
			if small.Load() != 1 || large.Load() != all(1) {
				t.Error("Load saw an Update that is under way")
			}
			leave <- true
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := c.update(); err != nil {
				t.Errorf("a free one, with a context that has ended: %v", err)
			}
		})
	}
}

// A small value's Update runs again when the value was changed under it.
func TestUpdateAgain(t *testing.T) {
	v := newValue(t, 1)
	runs := 0
	err := v.Update(func(x *int) error {
		if runs++; runs == 1 {
			shm.Add(v, 10)
		}
		*x *= 2
		return nil
	})
	if v.Load() != 22 || runs != 2 || err != nil {
		t.Errorf("%d after %d runs, %v", v.Load(), runs, err)
	}
}

// A write synchronizes before a Load that sees it: the race detector, which
// does not see the memory itself, knows that.
func TestValueOrders(t *testing.T) {
	for name, v := range map[string]interface {
		set() error
		isSet() bool
	}{
		"small": small{newValue(t, false)}, "large": large{newValue(t, all(0))},
	} {
		t.Run(name, func(t *testing.T) {
			text := ""
			done := make(chan error)
			go func() {
				text = "written before"
				done <- v.set()
			}()
			for !v.isSet() {
				time.Sleep(time.Microsecond)
			}
			if text != "written before" {
				t.Errorf("%q", text)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

type small struct{ v *shm.Value[bool] }

func (s small) set() error { return s.v.Store(true) }

func (s small) isSet() bool { return s.v.Load() }

type large struct{ v *shm.Value[five] }

func (l large) set() error { return l.v.Update(func(x *five) error { *x = all(1); return nil }) }

func (l large) isSet() bool { return l.v.Load() == all(1) }
