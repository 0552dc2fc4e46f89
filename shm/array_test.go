package shm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestArray(t *testing.T) {
	type odd struct{ A, B, C uint8 }
	t.Run("int64", func(t *testing.T) { arrays[int64](t, 1, 2, 3) })
	t.Run("bool", func(t *testing.T) { arrays(t, true, false, true) })
	t.Run("3B", func(t *testing.T) { arrays(t, odd{1, 2, 3}, odd{4, 5, 6}, odd{7, 8, 9}) })
	t.Run("40B", func(t *testing.T) { arrays(t, all(1), all(2), all(3)) })
	t.Run("0B", func(t *testing.T) { arrays(t, struct{}{}, struct{}{}, struct{}{}) })
}

func arrays[T comparable](t *testing.T, a, b, c T) {
	arr := newArray(t, a, b, c, a)
	if arr.Len() != 4 {
		t.Errorf("%d elements", arr.Len())
	}
	is := func(want ...T) {
		t.Helper()
		if !slices.Equal(arr.Slice(), want) {
			t.Errorf("%v, want %v", arr.Slice(), want)
		}
		for i, w := range want {
			if x, err := arr.Load(i); x != w || err != nil {
				t.Errorf("Load(%d): %v, %v; want %v", i, x, err, w)
			}
		}
	}
	is(a, b, c, a)
	if err := arr.Store(3, c); err != nil {
		t.Error(err)
	}
	is(a, b, c, c)
	if err := arr.Update(func(xs []T) error { xs[0], xs[1] = xs[1], xs[0]; return nil }); err != nil {
		t.Error(err)
	}
	is(b, a, c, c)
	no := errors.New("no")
	if err := arr.Update(func(xs []T) error { xs[0] = c; return no }); err != no {
		t.Error(err)
	}
	is(c, a, c, c)
	if err := arr.Recover(func([]T) error { panic("nothing to repair") }); err != nil {
		t.Error(err)
	}
	for _, i := range []int{-1, 4} {
		for name, f := range map[string]func(){"Load": func() { arr.Load(i) }, "Store": func() { arr.Store(i, a) }} {
			func() {
				defer func() {
					if got := recover(); got != fmt.Sprintf("shm: element %d of an Array of 4", i) {
						t.Errorf("%s(%d): %v", name, i, got)
					}
				}()
				f()
			}()
		}
	}
	is(c, a, c, c)
	var other shm.Array[T]
	if err := other.TakeFiles(dupAll(t, arr)); err != nil || other.Len() != 4 {
		t.Fatalf("%d elements, %v", other.Len(), err)
	}
	other.Store(1, b)
	is(c, b, c, c)
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	_, lerr := other.Load(0)
	for _, err := range []error{other.Update(func([]T) error { return nil }), other.Recover(func([]T) error { return nil }), other.Store(0, a), lerr, other.Close()} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if other.Len() != 0 || other.Slice() != nil {
		t.Error("elements after Close")
	}
	empty := newArray[T](t)
	if empty.Len() != 0 || empty.Update(func(xs []T) error { return nil }) != nil {
		t.Error("no elements")
	}
}

// After a function that panicked nobody uses the elements before they are
// repaired.
func TestArrayPanic(t *testing.T) {
	a := newArray(t, 1, 2)
	func() {
		defer func() { recover() }()
		a.Update(func(xs []int) error { xs[0] = 5; panic("half") })
	}()
	broken := func() {
		t.Helper()
		_, lerr := a.Load(0)
		ran := false
		for i, err := range []error{a.Update(func([]int) error { ran = true; return nil }), a.Store(0, 1), lerr} {
			if !errors.Is(err, futex.ErrOwnerDead) || ran {
				t.Errorf("%d: %v, f ran: %v", i, err, ran)
			}
		}
	}
	broken()
	no := errors.New("no")
	if err := a.Recover(func(xs []int) error { return no }); err != no {
		t.Errorf("Recover: %v", err)
	}
	broken()
	func() {
		defer func() { recover() }()
		a.Recover(func(xs []int) error { panic("no") })
	}()
	broken()
	if err := a.Recover(func(xs []int) error { xs[0] = 1; return nil }); err != nil {
		t.Errorf("Recover: %v", err)
	}
	if x, err := a.Load(0); x != 1 || err != nil {
		t.Errorf("%d, %v", x, err)
	}
}

type victims struct {
	Array *shm.Array[int64]
	Value *shm.Value[five]
	Small *shm.Value[int64]
	In    *shm.Value[int32]
	What  string
}

// halfWay gets stuck in the middle of a change.
var halfWay = proc.Register("halfWay", func(_ context.Context, v victims) error {
	stuck := func() error { shm.Add(v.In, 1); select {} }
	switch v.What {
	case "array":
		return v.Array.Update(func(xs []int64) error { xs[0] = 99; return stuck() })
	case "value":
		return v.Value.Update(func(x *five) error { x[0] = 99; return stuck() })
	}
	return v.Small.Update(func(x *int64) error { *x = 99; return stuck() })
})

// A process is killed in the function of an Update. An Array's users are told,
// a Value's find the old value.
func TestUpdateDeath(t *testing.T) {
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	defer cancel()
	v := victims{
		Array: newArray[int64](t, 1, 2, 3), Value: newValue(t, all(1)),
		Small: newValue(t, int64(1)), In: newValue(t, int32(0)),
	}
	for _, v.What = range []string{"array", "value", "small"} {
		v.In.Store(0)
		p, err := halfWay.Start(ctx, v)
		if err != nil {
			t.Fatal(err)
		}
		for v.In.Load() == 0 && p.Alive() {
			time.Sleep(time.Millisecond)
		}
		if v.Value.Load() != all(1) || v.Small.Load() != 1 {
			t.Errorf("%s: Load saw half an Update", v.What)
		}
		p.Kill()
		p.Wait(ctx)
	}
	ran := false
	err := v.Array.UpdateContext(ctx, func([]int64) error { ran = true; return nil })
	if !errors.Is(err, futex.ErrOwnerDead) || ran {
		t.Errorf("Update: %v, f ran: %v", err, ran)
	}
	err = v.Array.Recover(func(xs []int64) error {
		if xs[0] != 99 {
			t.Errorf("%d: not what the dead one left", xs)
		}
		xs[0] = 1
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := v.Array.Update(func(xs []int64) error { xs[1]++; return nil }); err != nil {
		t.Error(err)
	}
	if err := v.Value.UpdateContext(ctx, func(x *five) error { x[0]++; return nil }); err != nil || v.Value.Load() != (five{2, 1, 1, 1, 1}) {
		t.Errorf("%v, %v", v.Value.Load(), err)
	}
	if err := v.Small.UpdateContext(ctx, func(x *int64) error { *x++; return nil }); err != nil || v.Small.Load() != 2 {
		t.Errorf("%v, %v", v.Small.Load(), err)
	}
}

// The only one that Recover runs for is the first.
func TestRecoverOnce(t *testing.T) {
	a := newArray(t, 1)
	func() {
		defer func() { recover() }()
		a.Update(func([]int) error { panic("half") })
	}()
	var ran [8]int
	var all sync.WaitGroup
	for i := range ran {
		all.Go(func() {
			if err := a.Recover(func([]int) error { ran[i]++; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	for _, r := range ran {
		n += r
	}
	if n != 1 {
		t.Errorf("f ran %d times", n)
	}
}

func TestArrayTooLarge(t *testing.T) {
	if n := shm.ArraySize[int64](math.MaxInt / 4); n != -1 {
		t.Errorf("%d", n)
	}
	m, err := object(t, 4096).Map(0, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := shm.NewArrayAt(m, 0, make([]struct{}, math.MaxInt/2))
	if err != nil {
		t.Fatalf("much of nothing: %v", err)
	}
	defer a.Close()
	if _, err := shm.NewArrayAt(m, 0, make([]int64, 4096/8)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("more than there is room for: %v", err)
	}
}
