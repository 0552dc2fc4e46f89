package shm_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

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
		a.Recover(func([]int) error { return nil })
	})
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

// gob carries a handle as a byte, and one that is nil.
func TestHandleGob(t *testing.T) {
	type args struct {
		N int
		V *shm.Value[int]
		A *shm.Array[int]
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(args{N: 5, V: newValue(t, 1)}); err != nil {
		t.Fatal(err)
	}
	var got args
	if err := gob.NewDecoder(&b).Decode(&got); err != nil || got.N != 5 || got.A != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
