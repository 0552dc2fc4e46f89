package shm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// values is what a Value[T] must do, for any T.
func values[T comparable](t *testing.T, a, b, c T) {
	t.Run(fmt.Sprintf("%T", a), func(t *testing.T) {
		v := newValue(t, a)
		is := func(want T) {
			t.Helper()
			if got := v.Load(); got != want {
				t.Fatalf("%v, want %v", got, want)
			}
		}
		is(a)
		if err := v.Store(b); err != nil {
			t.Fatal(err)
		}
		is(b)
		if old, err := v.Swap(c); old != b || err != nil {
			t.Fatalf("Swap: %v, %v", old, err)
		}
		is(c)
		for range 3 { // both copies, and back
			err := v.Update(func(x *T) error {
				if *x != c {
					t.Errorf("Update is given %v, want %v", *x, c)
				}
				*x = a
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			is(a)
			v.Store(c)
		}
		no := errors.New("no")
		if err := v.Update(func(x *T) error { *x = a; return no }); err != no {
			t.Fatal(err)
		}
		is(c)
		func() {
			defer func() { recover() }()
			v.Update(func(x *T) error { *x = a; panic(no) })
		}()
		is(c)
		// The same value under another handle, and what is left of a closed one.
		var w shm.Value[T]
		if err := w.TakeFiles(dupAll(t, v)); err != nil {
			t.Fatal(err)
		}
		if got := w.Load(); got != c {
			t.Errorf("%v, want %v", got, c)
		}
		w.Store(b)
		is(b)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, serr := w.Swap(a)
		for _, err := range []error{w.Store(a), serr, w.Update(nil), w.Close()} {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		if _, err := w.PassFiles(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("PassFiles after Close: %v", err)
		}
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Load after Close panicked with %v", err)
			}
		}()
		w.Load()
	})
}

func TestValue(t *testing.T) {
	type odd struct{ A, B, C uint8 }
	type hole struct {
		A int8
		B int32
	}
	type nine struct {
		A int64
		B bool
	}
	type named float32
	values(t, struct{}{}, struct{}{}, struct{}{})
	values(t, true, false, true)
	values[int8](t, 1, -2, 3)
	values[uint16](t, 1, math.MaxUint16, 3)
	values(t, odd{1, 2, 3}, odd{4, 5, 6}, odd{7, 8, 9})
	values(t, [5]byte{1, 2, 3, 4, 5}, [5]byte{6}, [5]byte{0, 7})
	values[named](t, 1, -2.5, 3)
	values(t, hole{1, 2}, hole{-3, -4}, hole{5, 6})
	values(t, int64(math.MinInt64), 1, 2)
	values(t, 1.5, math.Inf(1), -3)
	values(t, nine{1, true}, nine{2, false}, nine{3, true})
	values(t, complex(1, 2), complex(3, 4), 5)
	values(t, [100]int{1, 99: 2}, [100]int{3}, [100]int{99: 4})
	values(t, [10000]int{1, 9999: 2}, [10000]int{3}, [10000]int{9999: 4})
}

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

// What lies between fields is not taken into shared memory.
func TestCase271_Padding(t *testing.T) {
	type small struct {
		A int8
		B int32
	}
	type large struct {
		A int8
		B int64
		C int8
	}
	s, l := newValue(t, small{}), newValue(t, large{})
	for range 2 { // a slot each
		s.Store(shm.Dirty[small]())
		l.Store(shm.Dirty[large]())
		l.Update(func(x *large) error { *x = shm.Dirty[large](); return nil })
		s.Update(func(x *small) error { *x = shm.Dirty[small](); return nil })
	}
	if n := strings.Count(string(shm.Data(s)[:8]), "\xff"); n != 5 {
		t.Errorf("% x", shm.Data(s)[:8])
	}
	if n := strings.Count(string(shm.Data(l)[128:]), "\xff"); n != 2*10 {
		t.Errorf("%d bytes, % x", n, shm.Data(l)[128:])
	}
}

// Locks, and what could not be shared at all, are refused.
func TestValueRefuses(t *testing.T) {
	type lock struct{ L [2]struct{ Mu futex.Mutex } }
	type text struct{ A, B struct{ S string } }
	_, e1 := shm.NewValue(lock{})
	_, e2 := shm.NewArray([]lock{})
	_, e3 := shm.NewValue(text{})
	_, e4 := shm.NewArray([]*int{})
	_, e5 := shm.NewValue(uintptr(1))
	_, e6 := shm.NewArray([]func(){})
	_, e7 := shm.NewValue(any(1))
	_, e8 := shm.NewValue([]int{1})
	_, e9 := shm.OpenValue[chan int]("rawipc-none", nil)
	e10 := new(shm.Value[map[int]int]).TakeFiles(nil)
	e11 := new(shm.Array[*int]).TakeFiles(nil)
	_, e12 := shm.OpenArray[*int]("rawipc-none", nil)
	_, e13 := shm.OpenShared[*int]("rawipc-none", nil)
	e14 := new(shm.Shared[*int]).TakeFiles(nil)
	for i, c := range []struct {
		err  error
		want string
	}{
		{e1, "lock.L[].Mu is a futex.Mutex, which can't be copied"},
		{e2, "lock.L[].Mu is a futex.Mutex, which can't be copied"},
		{e3, "text.A.S is a string"}, {e4, "is a ptr"}, {e5, "is a uintptr"}, {e6, "is a func"}, {e7, "is a interface"},
		{e8, "is a slice"}, {e9, "is a chan"}, {e10, "is a map"}, {e11, "is a ptr"}, {e12, "is a ptr"}, {e13, "is a ptr"}, {e14, "is a ptr"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%d: %v, want %q", i+1, c.err, c.want)
		}
	}
}

func TestValueAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n, f, p, a := newValue(t, int64(1)), newValue(t, 1.5), newValue(t, point{1, 2, 3}), newArray(t, 1, 2, 3)
	c, cancel := context.WithCancel(bg)
	defer cancel()
	none := func(name string, f func()) {
		t.Helper()
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
	none("Load", func() { n.Load(); p.Load() })
	none("Store", func() { n.Store(1); p.Store(point{}) })
	none("Swap", func() { n.Swap(1); p.Swap(point{}) })
	none("Add", func() { shm.Add(n, 1); shm.Add(f, 1) })
	none("Update", func() {
		n.Update(func(x *int64) error { *x++; return nil })
		p.Update(func(x *point) error { x.X++; return nil })
	})
	none("UpdateContext", func() { p.UpdateContext(c, func(x *point) error { x.X++; return nil }) })
	none("Array", func() {
		a.Store(1, 2)
		a.Load(1)
		a.Update(func(xs []int) error { xs[0]++; return nil })
		a.Recover(nil)
	})
}

// Writers that never pause can't keep a reader of something large away, and it
// never gets a mixture.
func TestValueLargeStream(t *testing.T) {
	type large [4096]uint64
	fill := func(x *large, n uint64) {
		for i := range x {
			x[i] = n
		}
	}
	v := newValue(t, large{})
	var stop atomic.Bool
	var all sync.WaitGroup
	defer all.Wait()
	defer stop.Store(true)
	for w := range 2 {
		all.Go(func() {
			x := new(large)
			for n := uint64(w); !stop.Load(); n += 2 {
				fill(x, n)
				v.Store(*x)
			}
		})
	}
	loads := 2000
	if testing.Short() || raceEnabled {
		loads = 200
	}
	for range loads {
		x := v.Load()
		for i := range x {
			if x[i] != x[0] {
				t.Fatalf("a mixture: %d at 0, %d at %d", x[0], x[i], i)
			}
		}
	}
}

// A handle that is no handle's.
func TestTakeFilesClosesAll(t *testing.T) {
	v := newValue(t, 1)
	files := append(dupAll(t, v), append(dupAll(t, v), dupAll(t, v)...)...)
	if err := new(shm.Value[int]).TakeFiles(files); !errors.Is(err, unix.EINVAL) {
		t.Errorf("three descriptors: %v", err)
	}
	if err := new(shm.Value[int]).TakeFiles(nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no descriptor: %v", err)
	}
	if err := new(shm.Value[int]).TakeFiles(append(dupAll(t, v), dupAll(t, v)...)); !errors.Is(err, shm.ErrCorrupt) {
		t.Errorf("two that don't belong together: %v", err)
	}
	w, _ := newRing(t, 1)
	m, err := object(t, 4096).Map(0, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p, err := shm.NewValueAt(m, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	place := dupAll(t, p)
	place[0].Close()
	if err := new(shm.RingReader).TakeFiles([]*os.File{dupAll(t, w)[0], place[1]}); !errors.Is(err, shm.ErrCorrupt) {
		t.Errorf("a ring at a place: %v", err)
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

func (s small) set() error  { return s.v.Store(true) }
func (s small) isSet() bool { return s.v.Load() }

type large struct{ v *shm.Value[five] }

func (l large) set() error  { return l.v.Update(func(x *five) error { *x = all(1); return nil }) }
func (l large) isSet() bool { return l.v.Load() == all(1) }
