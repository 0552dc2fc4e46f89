package shm_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestCase018BadSizes(t *testing.T) {
	for _, size := range []int64{0, -1, 1 << 62, math.MaxInt64} {
		_, err := shm.CreateAnon("case18", size, nil)
		var path *fs.PathError
		if err == nil || !errors.As(err, &path) || size <= 0 && !errors.Is(err, unix.EINVAL) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	o := object(t, 100)
	for _, c := range []struct {
		off    int64
		length int
	}{{-1, 1}, {0, -1}, {0, 101}, {100, 0}, {1 << 62, 1}, {1, 1}, {math.MaxInt64, math.MaxInt}} {
		if _, err := o.Map(c.off, c.length, shm.ReadWrite); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Map(%d, %d): %v", c.off, c.length, err)
		}
	}
}

func object(t testing.TB, size int64) *shm.Object {
	t.Helper()
	o, err := shm.CreateAnon("test", size, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func TestCase031SealedSize(t *testing.T) {
	o := object(t, 8192)
	c, err := o.File().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c.Control(func(fd uintptr) {
		for _, size := range []int64{0, 4096, 16384} {
			if err := unix.Ftruncate(int(fd), size); err != unix.EPERM {
				t.Errorf("ftruncate to %d: %v", size, err)
			}
		}
		if _, err := unix.FcntlInt(fd, unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err != unix.EPERM {
			t.Errorf("one more seal: %v", err)
		}
	})
}

// What a peer could shrink is not mapped unasked.
func TestFromFileUnsealed(t *testing.T) {
	open := func() *os.File {
		fd, err := unix.MemfdCreate("unsealed", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(fd, 4096); err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "unsealed")
	}
	if _, err := shm.FromFile(open(), nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("unsealed: %v", err)
	}
	o, err := shm.FromFile(open(), &shm.Attr{AllowUnsealed: true})
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	// A file of a file system is no different.
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	path := f.Name()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if o, err = shm.FromFile(f, &shm.Attr{AllowUnsealed: true}); err != nil {
		t.Fatal(err)
	}
	copy(mapAll(t, o, shm.ReadWrite).Bytes()[4000:], "mapped")
	if b, err := os.ReadFile(path); err != nil || len(b) != 4096 || string(b[4000:4006]) != "mapped" {
		t.Errorf("the file has %d bytes, %v, or others", len(b), err)
	}
	o.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := shm.FromFile(r, nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a pipe: %v", err)
	}
}

func TestCase017MappingOutlivesFile(t *testing.T) {
	o := object(t, 4096)
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	m.Bytes()[4095] = 7
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if m.Bytes() != nil {
		t.Error("bytes after Close")
	}
	if err := o.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestAt(t *testing.T) {
	m, err := object(t, 4096).Map(0, 0, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p, err := shm.At[[2]uint32](m, 8)
	if err != nil {
		t.Fatal(err)
	}
	p[1] = 0xabcd
	s, err := shm.SliceAt[uint32](m, 8, 2)
	if err != nil || s[1] != 0xabcd {
		t.Errorf("%x, %v", s, err)
	}
	for _, c := range []struct{ off, n int }{{0, -1}, {0, 1025}, {4092, 2}, {-4, 1}, {2, 1}, {8, math.MaxInt}} {
		if _, err := shm.SliceAt[uint32](m, c.off, c.n); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%d at %d: %v", c.n, c.off, err)
		}
	}
}

// A type that can't be shared is refused with the path of the field.
func TestNewRefusesPointers(t *testing.T) {
	type T struct {
		A int
		B [2]struct{ C map[int]int }
	}
	if _, err := shm.New[T](nil); err == nil || !strings.Contains(err.Error(), "T.B[].C is a map") {
		t.Errorf("%v", err)
	}
	want := errors.New("not today")
	if _, err := shm.New(func(*int32) error { return want }); !errors.Is(err, want) {
		t.Errorf("a failing init: %v", err)
	}
}

// An object of another type, kind or layout is refused, and why is said.
func TestTakeFilesRefuses(t *testing.T) {
	s, err := shm.New(func(v *[2]int32) error { v[1] = 9; return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, _ := newRing(t, 1)
	var same shm.Shared[[2]int32]
	if err := same.TakeFiles(dupAll(t, s)); err != nil || same.Ptr()[1] != 9 {
		t.Errorf("the same type: %v", err)
	}
	same.Close()
	for _, c := range []struct {
		name, want string
		err        error
	}{
		{"float", `its layout is "[2]int32", want "struct{float32@0 float32@4}8"`, new(shm.Shared[struct{ X, Y float32 }]).TakeFiles(dupAll(t, s))},
		{"size", `its layout is "[2]int32", want "[4]int32"`, new(shm.Shared[[4]int32]).TakeFiles(dupAll(t, s))},
		{"ring", "a ring of", new(shm.RingReader).TakeFiles(dupAll(t, s))},
		{"no ring", "kind Ring, want Shared", new(shm.Shared[[2]int32]).TakeFiles(dupAll(t, w))},
	} {
		if !errors.Is(c.err, shm.ErrCorrupt) || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, c.err, c.want)
		}
	}
}
