package shm_test

import (
	"context"
	"encoding/binary"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Bytes that no object of ours has are refused, whichever way they come.
func TestCase263_Opening(t *testing.T) {
	e := binary.NativeEndian
	u32 := func(at int, v uint32) func([]byte) { return func(b []byte) { e.PutUint32(b[at:], v) } }
	u64 := func(at int, v uint64) func([]byte) { return func(b []byte) { e.PutUint64(b[at:], v) } }
	for _, c := range []struct {
		name   string
		change func(b []byte)
		err    error
	}{
		{"all zero", func(b []byte) { copy(b, make([]byte, 512)) }, shm.ErrCorrupt},
		{"magic", func(b []byte) { b[0]++ }, shm.ErrCorrupt},
		{"version", func(b []byte) { b[7]++ }, shm.ErrCorrupt},
		{"byte order", u32(8, 0x04030201), shm.ErrCorrupt},
		{"word size", u32(12, 4), shm.ErrCorrupt},
		{"kind", u32(16, 77), shm.ErrCorrupt},
		{"not ready", u32(20, 0), shm.ErrCorrupt},
		{"size over the file's", u64(24, 1<<40), shm.ErrCorrupt},
		{"size 0", u64(24, 0), shm.ErrCorrupt},
		{"data outside", u64(32, 1<<40), shm.ErrCorrupt},
		{"data over the header", u64(32, 8), shm.ErrCorrupt},
		{"count", u64(40, 1<<61), shm.ErrCorrupt},
		{"fingerprint", u64(48, 1), shm.ErrCorrupt},
		{"namespace", u64(56, 1), shm.ErrNamespace},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := freshName(t)
			a, err := shm.CreateArray(name, []int64{1, 2, 3}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			scribble(t, a, c.change)
			if _, err := shm.OpenArray[int64](name, nil); !errors.Is(err, c.err) {
				t.Errorf("by name: %v", err)
			}
			if err := new(shm.Array[int64]).TakeFiles(dupAll(t, a)); !errors.Is(err, c.err) {
				t.Errorf("passed: %v", err)
			}
			m, err := object(t, 4096).Map(0, 0, shm.ReadWrite)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			p, err := shm.NewArrayAt(m, 64, []int64{1, 2, 3})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			c.change(m.Bytes()[64:])
			if _, err := shm.OpenArrayAt[int64](m, 64); !errors.Is(err, c.err) {
				t.Errorf("in a mapping: %v", err)
			}
			if c.name == "count" {
				return // a Shared has none
			}
			// And where a semaphore should be there is none.
			name = freshName(t)
			s := newGate(t, name)
			defer s.Close()
			scribble(t, s, c.change)
			if _, err := shm.OpenShared[gate](name, nil); !errors.Is(err, c.err) {
				t.Errorf("a semaphore by name: %v", err)
			}
			if err := new(shm.Shared[gate]).TakeFiles(dupAll(t, s)); !errors.Is(err, c.err) {
				t.Errorf("a semaphore, passed: %v", err)
			}
			g, err := shm.NewSharedAt[gate](m, 2048, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			c.change(m.Bytes()[2048:])
			if _, err := shm.OpenSharedAt[gate](m, 2048); !errors.Is(err, c.err) {
				t.Errorf("a semaphore in a mapping: %v", err)
			}
		})
	}
	// Files that are too short for what they say, or for anything.
	for _, size := range []int64{1, 100, 511, 512, 576} {
		name := freshName(t)
		o, err := shm.Create(name, size, nil)
		if err != nil {
			t.Fatal(err)
		}
		each(t, name, shm.ErrCorrupt)
		o.Close()
	}
	// One thing is not another, and a layout not another's.
	name := freshName(t)
	v, err := shm.CreateValue(name, struct {
		A int32
		B float64
	}{1, 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := shm.OpenArray[int64](name, nil); err == nil || !strings.Contains(err.Error(), "kind Value, want Array") {
		t.Errorf("a Value as an Array: %v", err)
	}
	_, err = shm.OpenValue[struct {
		A int64
		B float64
	}](name, nil)
	want := `its layout is "struct{int32@0 float64@8}16", want "struct{int64@0 float64@8}16"`
	if !errors.Is(err, shm.ErrCorrupt) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// A peer that writes whatever it likes over everything but the header takes the
// value away, and nothing else: calls return, with an error or with some value.
func TestCase263_Scribbler(t *testing.T) {
	v, n, a := newValue(t, all(1)), newValue(t, 1), newArray(t, 1, 2, 3, 4)
	stop := make(chan bool)
	var peers sync.WaitGroup
	for i, h := range []interface{ PassFiles() ([]*os.File, error) }{v, n, a} {
		f := dupAll(t, h)[0]
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		peers.Go(func() {
			rng := mathrand.New(mathrand.NewPCG(1, uint64(i)))
			for {
				select {
				case <-stop:
					unix.Munmap(mem)
					return
				default:
				}
				at := 512 + rng.IntN((len(mem)-512)/4)*4
				for range 10 {
					binary.NativeEndian.PutUint32(mem[at:], rng.Uint32()>>rng.IntN(32))
				}
			}
		})
	}
	end := time.Now().Add(300 * time.Millisecond)
	for time.Now().Before(end) {
		ctx, cancel := context.WithTimeout(bg, 2*time.Millisecond)
		v.Load()
		n.Load()
		shm.Add(n, 1)
		n.Store(3)
		v.UpdateContext(ctx, func(x *five) error { x[0]++; return nil })
		n.UpdateContext(ctx, func(x *int) error { *x++; return nil })
		a.UpdateContext(ctx, func(xs []int) error { xs[0]++; return nil })
		cancel()
	}
	close(stop)
	peers.Wait()
}

func scribble(t *testing.T, h interface{ PassFiles() ([]*os.File, error) }, change func([]byte)) {
	t.Helper()
	f := dupAll(t, h)[0]
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, 512, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	change(mem)
}
