package shm_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Truncate gives the object another size and zeroes, where nobody uses it.
func TestCase010Truncate(t *testing.T) {
	name, o := named(t, 5000, &shm.Attr{Mode: 0o640})
	copy(mapAll(t, o, shm.ReadWrite).Bytes(), "what was there")
	attr := &shm.Attr{Mode: 0o660, Truncate: true}
	if _, err := shm.Create(name, 100, attr); !errors.Is(err, unix.EBUSY) {
		t.Errorf("in use: %v", err)
	}
	if now := stat(t, name); now.Size != 5000 {
		t.Fatalf("in use: size %d", now.Size)
	}
	o.Close()
	if _, err := shm.Create(name, 100, attr); !errors.Is(err, unix.EBUSY) {
		t.Errorf("still mapped: %v", err)
	}
}

func TestCase010TruncateUnused(t *testing.T) {
	name, o := named(t, 5000, &shm.Attr{Mode: 0o640})
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	copy(m.Bytes(), "what was there")
	m.Close()
	o.Close()
	before := stat(t, name)
	for _, size := range []int64{100, 8192} {
		o, err := shm.Create(name, size, &shm.Attr{Mode: 0o660, Truncate: true})
		if err != nil {
			t.Fatal(err)
		}
		now := stat(t, name)
		if now.Size != size || now.Ino != before.Ino || now.Mode != before.Mode || now.Uid != before.Uid {
			t.Errorf("%+v, before %+v", now, before)
		}
		m, err := o.Map(0, 0, shm.ReadWrite)
		if err != nil || !isZero(m.Bytes()) {
			t.Errorf("not empty, or %v", err)
		}
		copy(m.Bytes(), "more")
		m.Close()
		if names, err := shm.Sweep(name); len(names) != 0 || err != nil {
			t.Errorf("in use and swept: %v, %v", names, err)
		}
		o.Close()
	}
	absent := newName(t)
	o, err = shm.Create(absent, 7, &shm.Attr{Truncate: true})
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
}

func TestCase018BadSizesOfNames(t *testing.T) {
	for _, size := range []int64{0, -1, 1 << 62, math.MaxInt64} {
		name := newName(t)
		_, err := shm.Create(name, size, nil)
		want := []error{unix.EINVAL}
		if size > 0 {
			want = append(want, unix.ENOMEM, unix.EFBIG, unix.ENOSPC)
		}
		if err := oneOf(err, want...); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		gone(t, name)
	}
	// What a program in C has made, but not yet given its size.
	name := newName(t)
	if err := os.WriteFile("/dev/shm/"+name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := shm.Open(name, nil); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "size 0") {
		t.Errorf("empty: %v", err)
	}
}

// Where files without a name can't be made, drafts have one. The next Create
// removes those of dead processes, and no other.
func TestNamedDrafts(t *testing.T) {
	defer shm.WithoutUnnamed()()
	name, o := named(t, 5000, &shm.Attr{Mode: 0o640})
	if st := stat(t, name); filed(&st) != 0o640 || st.Size != 5000 || st.Nlink != 1 {
		t.Errorf("%+v", st)
	}
	if !isZero(mapAll(t, o, shm.ReadWrite).Bytes()) || !strings.HasSuffix(o.File().Name(), name) {
		t.Errorf("not zero, or not called %s: %s", name, o.File().Name())
	}
	path := "/dev/shm/" + shm.DraftPrefix + name
	for _, p := range []string{path + "-dead", path + "-alive"} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(p)
	}
	alive, err := os.Open(path + "-alive")
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	if err := onFD(t, alive, func(fd int) error { return unix.Flock(fd, unix.LOCK_SH) }); err != nil {
		t.Fatal(err)
	}
	another, err := shm.Create(newName(t), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	another.Close()
	if left, _ := filepath.Glob(path + "*"); !slices.Equal(left, []string{path + "-alive"}) {
		t.Errorf("left: %v", left)
	}
	if err := wants(second(shm.Create(name, 1, nil)), unix.EEXIST); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob("/dev/shm/" + shm.DraftPrefix + "*"); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// Attributes that have no meaning where they are used are refused.
func TestAttrs(t *testing.T) {
	name := newName(t)
	_, err := shm.Create(name, 1, &shm.Attr{ReadOnlyPeers: true})
	_, sticky := shm.Create(name, 1, &shm.Attr{Mode: 0o1777})
	_, anon := shm.CreateAnon("attr", 1, &shm.Attr{Truncate: true})
	_, both := shm.CreateAnon("attr", 1, &shm.Attr{ReadOnlyPeers: true, Growable: true})
	_, open := shm.Open(name, &shm.Attr{Mode: 0o1777})
	for _, err := range []error{err, sticky, anon, both, open} {
		if err := wants(err, unix.EINVAL); err != nil {
			t.Error(err)
		}
	}
	o, err := shm.CreateAnon("attr", 1, &shm.Attr{Mode: 0o400})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if fi, err := o.File().Stat(); err != nil || fi.Mode().Perm() != 0o400 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	gone(t, name)
}
