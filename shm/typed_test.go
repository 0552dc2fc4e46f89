package shm_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"math"
	"os"
	"testing"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// freshName is a name that nobody has, and that is gone after the test.
func freshName(t testing.TB) string {
	name := "rawipc-typed-" + rand.Text()
	t.Cleanup(func() { shm.Unlink(name) })
	return name
}

// A room is one place of a typed object. make makes the object there and open
// opens it again, as another handle.
type room[H any] struct {
	name       string
	make, open func() (H, error)
}

// A typed object is the same by name, in a mapping and by its descriptors.
func TestTypedPlaces(t *testing.T) {
	name := freshName(t)
	m, err := object(t, 8192).Map(4096, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	at := 64
	next := func(size int) int {
		defer func() { at += (size + 63) &^ 63 }()
		return at
	}
	sa, va, aa := next(shm.SharedSize[five]()), next(shm.ValueSize[five]()), next(shm.ArraySize[int32](3))
	values := []room[*shm.Value[five]]{
		{"name", func() (*shm.Value[five], error) { return shm.CreateValue(name+"v", all(1), nil) },
			func() (*shm.Value[five], error) { return shm.OpenValue[five](name+"v", nil) }},
		{"place", func() (*shm.Value[five], error) { return shm.NewValueAt(m, va, all(1)) },
			func() (*shm.Value[five], error) { return shm.OpenValueAt[five](m, va) }},
	}
	for _, r := range values {
		t.Run("Value/"+r.name, func(t *testing.T) {
			v, w := pair(t, r)
			v.Store(all(2))
			w.Update(func(x *five) error { x[0]++; return nil })
			var p shm.Value[five]
			if err := p.TakeFiles(dupAll(t, w)); err != nil {
				t.Fatal(err)
			}
			if p.Load() != (five{3, 2, 2, 2, 2}) {
				t.Errorf("%v", p.Load())
			}
			closeAll(t, &p, w, v)
		})
	}
	shareds := []room[*shm.Shared[five]]{
		{"name", func() (*shm.Shared[five], error) { return shm.CreateShared[five](name+"s", nil, nil) },
			func() (*shm.Shared[five], error) { return shm.OpenShared[five](name+"s", nil) }},
		{"place", func() (*shm.Shared[five], error) { return shm.NewSharedAt[five](m, sa, nil) },
			func() (*shm.Shared[five], error) { return shm.OpenSharedAt[five](m, sa) }},
	}
	for _, r := range shareds {
		t.Run("Shared/"+r.name, func(t *testing.T) {
			v, w := pair(t, r)
			v.Ptr()[3] = 7
			var p shm.Shared[five]
			if err := p.TakeFiles(dupAll(t, w)); err != nil {
				t.Fatal(err)
			}
			if p.Ptr()[3] != 7 {
				t.Errorf("%v", p.Ptr())
			}
			closeAll(t, v, w, &p)
		})
	}
	arrays := []room[*shm.Array[int32]]{
		{"name", func() (*shm.Array[int32], error) { return shm.CreateArray(name+"a", []int32{1, 2, 3}, nil) },
			func() (*shm.Array[int32], error) { return shm.OpenArray[int32](name+"a", nil) }},
		{"place", func() (*shm.Array[int32], error) { return shm.NewArrayAt(m, aa, []int32{1, 2, 3}) },
			func() (*shm.Array[int32], error) { return shm.OpenArrayAt[int32](m, aa) }},
	}
	for _, r := range arrays {
		t.Run("Array/"+r.name, func(t *testing.T) {
			v, w := pair(t, r)
			v.Store(1, 9)
			var p shm.Array[int32]
			if err := p.TakeFiles(dupAll(t, w)); err != nil {
				t.Fatal(err)
			}
			if x, err := p.Load(1); x != 9 || err != nil || p.Len() != 3 {
				t.Errorf("%d, %v; %d elements", x, err, p.Len())
			}
			closeAll(t, v, &p, w)
		})
	}
	for _, end := range []string{"v", "s", "a"} {
		if err := shm.Unlink(name + end); err != nil {
			t.Error(err)
		}
	}
}

func pair[H any](t *testing.T, r room[H]) (v, w H) {
	t.Helper()
	if _, err := r.open(); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, shm.ErrCorrupt) {
		t.Errorf("before there is one: %v", err)
	}
	v, err := r.make()
	if err != nil {
		t.Fatal(err)
	}
	w, err = r.open()
	if err != nil {
		t.Fatal(err)
	}
	return v, w
}

func closeAll(t *testing.T, all ...interface{ Close() error }) {
	t.Helper()
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// An object in the mapping of a named object is passed as others are, though
// names can't be sealed.
func TestPlaceInName(t *testing.T) {
	o, err := shm.Create(freshName(t), 8192, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Map(4096, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	o.Close()
	v, err := shm.NewValueAt(m, 64, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var w shm.Value[int]
	if err := w.TakeFiles(dupAll(t, v)); err != nil {
		t.Fatal(err)
	}
	if shm.Add(v, 1); w.Load() != 6 {
		t.Errorf("%d, want 6", w.Load())
	}
	closeAll(t, &w)
}

// Where there is no room, or the place is odd, nothing is made.
func TestPlaceRefuses(t *testing.T) {
	o := object(t, 4096)
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{-64, 1, 8, 4096, 4096 - 512, math.MaxInt - 63} {
		if _, err := shm.NewValueAt(m, off, 1); !errors.Is(err, unix.EINVAL) {
			t.Errorf("at %d: %v", off, err)
		}
		if _, err := shm.OpenValueAt[int](m, off); !errors.Is(err, unix.EINVAL) && !errors.Is(err, shm.ErrCorrupt) {
			t.Errorf("open at %d: %v", off, err)
		}
	}
	v, err := shm.NewValueAt(m, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	m.Close() // too early, but nothing is lost by it
	if err := v.Close(); err != nil {
		t.Errorf("Close after the mapping's: %v", err)
	}
	if _, err := shm.NewValueAt(m, 0, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("in a closed mapping: %v", err)
	}
	m, err = o.Map(0, 0, shm.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := shm.OpenValueAt[int](m, 0); !errors.Is(err, unix.EACCES) {
		t.Errorf("in a read-only mapping: %v", err)
	}
}

// A named object is there whole or not at all, and only once.
func TestCreateExclusive(t *testing.T) {
	name := freshName(t)
	v, err := shm.CreateValue(name, all(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := shm.CreateValue(name, all(2), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	no := errors.New("no")
	other := freshName(t)
	if _, err := shm.CreateShared(other, func(*int) error {
		if _, err := shm.OpenShared[int](other, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("while it is being made: %v", err)
		}
		return no
	}, nil); !errors.Is(err, no) {
		t.Errorf("a failing init: %v", err)
	}
	if err := shm.Unlink(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a failing init left the name: %v", err)
	}
}

// What a crashed program left under a name can be taken over, if nobody uses
// it.
func TestCreateTakesOver(t *testing.T) {
	name := freshName(t)
	o, err := shm.Create(name, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shm.CreateValue(name, 5, &shm.Attr{Truncate: true}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("while it is used: %v", err)
	}
	o.Close()
	v, err := shm.CreateValue(name, 5, &shm.Attr{Truncate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w, err := shm.OpenValue[int](name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Load() != 5 {
		t.Errorf("%d, want 5", w.Load())
	}
}
