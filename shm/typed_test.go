package shm_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
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

// gate is what the users of a named semaphore share.
type gate struct {
	Sem     futex.Semaphore
	Waiting atomic.Int32
}

var waitAtGate = proc.Register("waitAtGate", func(ctx context.Context, name string) error {
	g, err := shm.OpenShared[gate](name, nil)
	if err != nil {
		return err
	}
	defer g.Close()
	g.Ptr().Waiting.Add(1)
	return g.Ptr().Sem.Acquire(ctx)
})

func newGate(t *testing.T, name string) *shm.Shared[gate] {
	t.Helper()
	g, err := shm.CreateShared(name, func(g *gate) error { return g.Sem.Init(0, 0) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A named semaphore is unlinked while processes wait: they finish on the old
// one, and the name is free for a new one.
func TestCase120_UnlinkWithWaiters(t *testing.T) {
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	defer cancel()
	name := freshName(t)
	old := newGate(t, name)
	defer old.Close()
	var waiters []*proc.Process
	for range 2 {
		p, err := waitAtGate.Start(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		waiters = append(waiters, p)
	}
	for old.Ptr().Waiting.Load() < 2 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := shm.Unlink(name); err != nil {
		t.Fatal(err)
	}
	if _, err := shm.OpenShared[gate](name, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Unlink: %v", err)
	}
	fresh := newGate(t, name)
	defer fresh.Close()
	if err := fresh.Ptr().Sem.Release(); err != nil {
		t.Error(err)
	}
	for _, p := range waiters {
		if !p.Alive() {
			t.Error("a token of the new semaphore ended a wait for the old one")
		}
	}
	old.Ptr().Sem.Release()
	old.Ptr().Sem.Release()
	for _, p := range waiters {
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
	}
	if n := fresh.Ptr().Sem.Value(); n != 1 {
		t.Errorf("%d tokens in the new semaphore, want 1", n)
	}
}

// One name opened twice leads to one state, and each handle has its own end.
func TestCase121_OpenedTwice(t *testing.T) {
	name := freshName(t)
	g := newGate(t, name)
	defer g.Close()
	twin, err := shm.OpenShared[gate](name, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.Ptr().Sem.Release()
	if n := twin.Ptr().Sem.Value(); n != 1 {
		t.Errorf("%d tokens, want 1", n)
	}
	if err := twin.Close(); err != nil {
		t.Error(err)
	}
	if !g.Ptr().Sem.TryAcquire() {
		t.Error("the token went with the other handle")
	}
}

// openings are the ways to open a name as something typed.
var openings = map[string]func(name string) error{
	"OpenShared": func(name string) error { return closing(shm.OpenShared[int64](name, nil)) },
	"OpenValue":  func(name string) error { return closing(shm.OpenValue[int64](name, nil)) },
	"OpenArray":  func(name string) error { return closing(shm.OpenArray[int64](name, nil)) },
}

func closing(c interface{ Close() error }, err error) error {
	if err == nil {
		c.Close()
	}
	return err
}

// each opens a name in every way, and expects an error within a second.
func each(t *testing.T, name string, want ...error) {
	t.Helper()
	for way, open := range openings {
		start := time.Now()
		err := open(name)
		ok := false
		for _, w := range want {
			ok = ok || errors.Is(err, w)
		}
		if !ok {
			t.Errorf("%s: %v, want %v", way, err, want)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s took %v", way, d)
		}
	}
}

func TestCase259_TypedSymlink(t *testing.T) {
	name, target := freshName(t), filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := "/dev/shm/" + name
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	each(t, name, unix.ELOOP)
	if _, err := shm.CreateValue(name, 1, nil); !errors.Is(err, unix.EEXIST) {
		t.Errorf("CreateValue: %v", err)
	}
	if b, _ := os.ReadFile(target); string(b) != "mine" {
		t.Errorf("the target holds %q", b)
	}
}

func TestCase260_TypedPlanted(t *testing.T) {
	path := func(name string) string { return "/dev/shm/" + name }
	fifo, dir, link := freshName(t), freshName(t), freshName(t)
	if err := unix.Mkfifo(path(fifo), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path(fifo))
	if err := os.Mkdir(path(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path(dir))
	v, err := shm.CreateValue(link, int64(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := os.Link(path(link), path(link)+"-2"); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path(link) + "-2")
	each(t, fifo, unix.EINVAL)
	each(t, dir, unix.EINVAL, unix.EISDIR)
	each(t, link, shm.ErrOwner)
	for _, name := range []string{fifo, dir} {
		if _, err := shm.CreateArray(name, []int{1}, nil); !errors.Is(err, unix.EEXIST) {
			t.Errorf("CreateArray: %v", err)
		}
	}
}

func TestCase261_TypedForeign(t *testing.T) {
	name := freshName(t)
	v, err := shm.CreateValue(name, int64(1), &shm.Attr{Mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	path := "/dev/shm/" + name
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := shm.OpenValue[int64](name, &shm.Attr{Mode: 0o600}); !errors.Is(err, shm.ErrOwner) {
		t.Errorf("anybody may write: %v", err)
	}
	if err := os.Chown(path, 65534, -1); err != nil {
		t.Skip(err)
	}
	defer os.Chown(path, os.Geteuid(), -1)
	each(t, name, shm.ErrOwner)
	w, err := shm.OpenValue[int64](name, &shm.Attr{Owners: []int{65534}})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}

// The name goes to another object between opening and use: the object that was
// opened is used.
func TestCase262_TypedSwapped(t *testing.T) {
	name := freshName(t)
	v, err := shm.CreateValue(name, int64(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w, err := shm.OpenValue[int64](name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := shm.Unlink(name); err != nil {
		t.Fatal(err)
	}
	other, err := shm.CreateValue(name, int64(5), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var child shm.Value[int64]
	if err := child.TakeFiles(dupAll(t, w)); err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	shm.Add(v, 1)
	if w.Load() != 2 || child.Load() != 2 || other.Load() != 5 {
		t.Errorf("%d, %d and %d, want 2, 2 and 5", w.Load(), child.Load(), other.Load())
	}
}

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

// lookAround says what a child finds in itself of objects that it was not
// given.
var lookAround = proc.Register("lookAround", func(_ context.Context, v *shm.Value[int64]) error {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, f := range files {
		if to, _ := os.Readlink("/proc/self/fd/" + f.Name()); strings.Contains(to, "secret") {
			return fmt.Errorf("descriptor %s is %s", f.Name(), to)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	text := strings.Join(append(os.Environ(), os.Args...), "\n") + string(maps)
	if strings.Contains(text, "secret") {
		return fmt.Errorf("a secret in %s", text)
	}
	return v.Store(7)
})

// A child has what it was given, and nothing else of its parent's.
func TestCase270_NothingElse(t *testing.T) {
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	defer cancel()
	type secret struct{ Key [4]int64 }
	given, kept := newValue(t, int64(1)), newValue(t, secret{[4]int64{1, 2, 3, 4}})
	named, err := shm.CreateArray(freshName(t)+"-secret", []int64{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		f, _ := named.PassFiles()
		shm.Unlink(filepath.Base(f[0].Name()))
		named.Close()
	}()
	p, err := lookAround.Start(ctx, given)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(ctx); err != nil {
		t.Error(err)
	}
	if given.Load() != 7 || kept.Load().Key[0] != 1 {
		t.Error("the child did not reach what it was given")
	}
}

// torn is where several processes write and read.
type torn struct {
	Value *shm.Value[[64]uint64]
	Array *shm.Array[uint64]
	Count *shm.Value[uint64]
	Stop  *shm.Value[bool]
	Write bool
}

var tear = proc.Register("tear", func(ctx context.Context, a torn) error {
	for n := uint64(os.Getpid()); !a.Stop.Load(); n++ {
		x := a.Value.Load()
		for i := range x {
			if x[i] != x[0] {
				return fmt.Errorf("a mixture: %x", x)
			}
		}
		err := a.Array.Update(func(xs []uint64) error {
			for i := range xs {
				if xs[i] != xs[0] {
					return fmt.Errorf("a mixture: %x", xs)
				}
			}
			for i := range xs {
				xs[i] = n
			}
			return nil
		})
		if errors.Is(err, futex.ErrOwnerDead) { // killed beside us: the first of us repairs
			err = a.Array.Recover(func(xs []uint64) error { copy(xs, make([]uint64, len(xs))); return nil })
		}
		if err != nil {
			return err
		}
		if !a.Write {
			continue
		}
		for i := range x {
			x[i] = n
		}
		if n%2 == 0 {
			err = a.Value.Store(x)
		} else {
			err = a.Value.Update(func(y *[64]uint64) error { *y = x; return nil })
		}
		if _, aerr := shm.Add(a.Count, 1); err != nil || aerr != nil {
			return errors.Join(err, aerr)
		}
	}
	return nil
})

// Two processes write and two read, as fast as they can; some are killed and
// replaced. Nobody ever sees a mixture.
func TestTornReads(t *testing.T) {
	ctx, cancel := context.WithTimeout(bg, 60*time.Second)
	defer cancel()
	a := torn{
		Value: newValue(t, [64]uint64{}), Array: newArray(t, make([]uint64, 32)...),
		Count: newValue(t, uint64(0)), Stop: newValue(t, false),
	}
	start := func(write bool) *proc.Process {
		b := a
		b.Write = write
		p, err := tear.Start(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ps := []*proc.Process{start(true), start(true), start(false), start(false)}
	rounds := 10
	if testing.Short() || raceEnabled {
		rounds = 3
	}
	for i := range rounds {
		time.Sleep(50 * time.Millisecond)
		k := i % len(ps)
		ps[k].Kill()
		if _, err := ps[k].Wait(ctx); err != nil && !strings.Contains(err.Error(), "killed") {
			t.Error(err)
		}
		ps[k] = start(k < 2)
	}
	a.Stop.Store(true)
	for _, p := range ps {
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d writes", a.Count.Load())
}
