package shm_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/shm"
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
		for _, err := range []error{w.Store(a), serr, w.Update(func(*T) error { return nil }), w.Close()} {
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

// A reader that is always overtaken comes through when no writer has the lock.
func TestLoadOvertaken(t *testing.T) {
	type page [1 << 16]byte
	v := newValue(t, page{1, 1<<16 - 1: 2})
	defer shm.SetLoadTries(1)()
	stop, done := make(chan struct{}), make(chan bool)
	go func() { v.Overtake(stop); close(done) }()
	for range 20 {
		if x := v.Load(); x[0] != 1 || x[1<<16-1] != 2 {
			t.Error("another value")
		}
	}
	close(stop)
	<-done
}
