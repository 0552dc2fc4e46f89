package shm_test

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"unsafe"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestCase009ReadOnly(t *testing.T) {
	name, o := named(t, 4096, nil)
	ro, err := shm.OpenReadOnly(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if err := wants(second(ro.Map(0, 0, shm.ReadWrite)), unix.EACCES, os.ErrPermission); err != nil {
		t.Error(err)
	}
	if err := ro.Grow(8192); err == nil {
		t.Error("grown through a descriptor for reading")
	}
	mapAll(t, o, shm.ReadWrite).Bytes()[3] = 3
	m := mapAll(t, ro, shm.ReadOnly)
	if m.Bytes()[3] != 3 {
		t.Error("other bytes")
	}
	if err := wants(second(m.WriteAt([]byte("x"), 0)), unix.EACCES); err != nil {
		t.Error(err)
	}
	// Who stores there can survive it.
	store := func() (fault any) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() { fault = recover() }()
		m.Bytes()[0] = 1
		return nil
	}
	if fault, ok := store().(interface{ Addr() uintptr }); !ok {
		t.Error("no fault")
	} else if first := uintptr(unsafe.Pointer(&m.Bytes()[0])); fault.Addr() != first {
		t.Errorf("fault at %#x, want %#x", fault.Addr(), first)
	}
}

func TestCase019Offsets(t *testing.T) {
	page := int64(os.Getpagesize())
	name, o := named(t, 2*page+100, nil)
	for _, off := range []int64{1, 8, page - 1, page + 512} {
		if err := wants(second(o.Map(off, 1, shm.ReadWrite)), unix.EINVAL); err != nil {
			t.Errorf("offset %d: %v", off, err)
		}
	}
	m, err := o.Map(2*page, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b := m.Bytes()
	if len(b) != 100 || cap(b) != 100 {
		t.Fatalf("%d of %d bytes", len(b), cap(b))
	}
	// The rest of the last page is there, and zero; it is no part of the object.
	tail := unsafe.Slice(&b[0], page)[100:]
	if !isZero(tail) {
		t.Error("not zero behind the end")
	}
	tail[0] = 'x'
	content, err := os.ReadFile("/dev/shm/" + name)
	if err != nil || int64(len(content)) != 2*page+100 || !isZero(content) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

func TestCase038UseAfterClose(t *testing.T) {
	name, o := named(t, 4096, nil)
	anon := object(t, 4096)
	for _, obj := range []*shm.Object{o, anon} {
		m := mapAll(t, obj, shm.ReadWrite)
		if err := errors.Join(m.Close(), obj.Close()); err != nil {
			t.Fatal(err)
		}
		_, at := shm.At[int32](m, 0)
		_, slice := shm.SliceAt[int32](m, 0, 1)
		for call, err := range map[string]error{
			"Mapping.Close":   m.Close(),
			"Mapping.Remap":   m.Remap(0),
			"Mapping.ReadAt":  second(m.ReadAt(make([]byte, 1), 0)),
			"Mapping.WriteAt": second(m.WriteAt(make([]byte, 1), 0)),
			"At":              at,
			"SliceAt":         slice,
			"Object.Close":    obj.Close(),
			"Object.Map":      second(obj.Map(0, 0, shm.ReadWrite)),
			"Object.Grow":     obj.Grow(8192),
		} {
			if err := wants(err, os.ErrClosed); err != nil {
				t.Errorf("%s: %v", call, err)
			}
		}
		if m.Bytes() != nil {
			t.Error("bytes after Close")
		}
		if obj.Size() != 4096 {
			t.Errorf("size %d", obj.Size())
		}
	}
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
}

// Every call that races with Close comes first or returns os.ErrClosed.
func TestCase039CloseRaces(t *testing.T) {
	for range rounds(200) {
		o, err := shm.CreateAnon("race", 4096, &shm.Attr{Growable: true})
		if err != nil {
			t.Fatal(err)
		}
		m, err := o.Map(0, 0, shm.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var started sync.WaitGroup
		for i, call := range []func() error{
			func() error { return second(m.ReadAt(make([]byte, 100), 0)) },
			func() error { return second(m.WriteAt(make([]byte, 100), 200)) },
			func() error { return m.Remap(0) },
			func() error { m.Bytes(); return nil },
			func() error { return o.Grow(o.Size() + 4096) },
			func() error {
				m, err := o.Map(0, 0, shm.ReadOnly)
				if err == nil {
					err = m.Close()
				}
				return err
			},
		} {
			started.Add(1)
			all.Go(func() {
				started.Done()
				for range 10 {
					if err := call(); err != nil {
						if !errors.Is(err, os.ErrClosed) {
							t.Errorf("call %d: %v", i, err)
						}
						return
					}
				}
			})
		}
		started.Wait()
		all.Go(func() {
			if err := o.Close(); err != nil {
				t.Error(err)
			}
		})
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	}
}

// grower makes the object larger, and writes into the new part.
var grower = proc.Register("shm-grow", func(_ context.Context, f *os.File) error {
	o, err := shm.FromFile(f, &shm.Attr{AllowUnsealed: true})
	if err != nil {
		return err
	}
	defer o.Close()
	if err := o.Grow(3 * 4096); err != nil {
		return err
	}
	m, err := o.Map(2*4096, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.WriteAt([]byte("grown"), 0)
	return err
})

func TestCase041Grow(t *testing.T) {
	anon, err := shm.CreateAnon("grow", 4096, &shm.Attr{Growable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer anon.Close()
	_, withName := named(t, 4096, nil)
	for _, o := range []*shm.Object{anon, withName} {
		m := mapAll(t, o, shm.ReadWrite)
		old := m.Bytes()
		copy(old, "as ever")
		p, err := grower.Start(t.Context(), o.File())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o.Size() != 3*4096 || len(m.Bytes()) != 4096 {
			t.Errorf("size %d, %d bytes mapped", o.Size(), len(m.Bytes()))
		}
		if n, err := m.ReadAt(make([]byte, 8192), 0); n != 4096 || err != io.EOF {
			t.Errorf("before Remap: %d, %v", n, err)
		}
		if err := m.Remap(0); err != nil {
			t.Fatal(err)
		}
		b := m.Bytes()
		if len(b) != 3*4096 || string(b[:7]) != "as ever" || !isZero(b[4096:8192]) || string(b[8192:8197]) != "grown" {
			t.Errorf("after Remap: %d bytes", len(b))
		}
		// The old slice is the same memory.
		b[0] = 'A'
		if string(old[:7]) != "As ever" {
			t.Errorf("the old slice: %q", old[:7])
		}
		// Nothing shrinks, and what fits needs no growth.
		if err := errors.Join(o.Grow(1), o.Grow(3*4096)); err != nil || o.Size() != 3*4096 {
			t.Errorf("%v, size %d", err, o.Size())
		}
		if err := m.Remap(4096); err != nil || len(m.Bytes()) != 4096 {
			t.Errorf("Remap to less: %v, %d bytes", err, len(m.Bytes()))
		}
		if err := wants(m.Remap(4*4096), unix.EINVAL); err != nil || len(m.Bytes()) != 4096 {
			t.Errorf("Remap beyond the end: %v", err)
		}
		if err := errors.Join(wants(o.Grow(0), unix.EINVAL), oneOf(o.Grow(1<<62), unix.ENOMEM, unix.ENOSPC)); err != nil {
			t.Error(err)
		}
	}
	if err := wants(object(t, 4096).Grow(8192), unix.EPERM); err != nil {
		t.Errorf("sealed: %v", err)
	}
	onFD(t, anon.File(), func(fd int) error {
		if err := unix.Ftruncate(fd, 4096); err != unix.EPERM {
			t.Errorf("a growable object shrinks: %v", err)
		}
		return nil
	})
}
