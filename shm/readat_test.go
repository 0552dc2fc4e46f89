package shm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"testing"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestReadAtWriteAt(t *testing.T) {
	m := mapAll(t, object(t, 300_000), shm.ReadWrite)
	var _ io.ReaderAt = m
	var _ io.WriterAt = m
	text := make([]byte, 200_000) // of more than one piece
	for i := range text {
		text[i] = byte(i * i)
	}
	if n, err := m.WriteAt(text, 12345); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, len(text))
	if n, err := m.ReadAt(got, 12345); n != len(got) || err != nil || !bytes.Equal(got, text) {
		t.Fatal(n, err)
	}
	for _, c := range []struct {
		call   string
		n, len int
		off    int64
		want   error
	}{
		{"ReadAt", 10, 20, 299_990, io.EOF},
		{"ReadAt", 0, 1, 300_000, io.EOF},
		{"ReadAt", 0, 0, 300_000, nil},
		{"ReadAt", 0, 0, 1 << 62, nil},
		{"ReadAt", 0, 1, 1 << 62, io.EOF},
		{"ReadAt", 0, 1, -1, unix.EINVAL},
		{"WriteAt", 0, 0, 300_000, nil},
		{"WriteAt", 0, 1, 300_000, unix.EINVAL},
		{"WriteAt", 0, 20, 299_990, unix.EINVAL},
		{"WriteAt", 0, 1, 1 << 62, unix.EINVAL},
		{"WriteAt", 0, 1, -1 << 63, unix.EINVAL},
	} {
		call := map[string]func([]byte, int64) (int, error){"ReadAt": m.ReadAt, "WriteAt": m.WriteAt}[c.call]
		if n, err := call(make([]byte, c.len), c.off); n != c.n || !errors.Is(err, c.want) {
			t.Errorf("%s of %d at %d: %d, %v, want %d, %v", c.call, c.len, c.off, n, err, c.n, c.want)
		}
	}
	buf := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() { m.ReadAt(buf, 0); m.WriteAt(buf, 64) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var shrink = proc.Register("shm-shrink", func(_ context.Context, name string) error {
	return os.Truncate("/dev/shm/"+name, 4096)
})

// A peer takes memory away from under us. Copies say so and do no harm, and what
// is left works.
func TestPeerTruncates(t *testing.T) {
	const size = 1 << 20
	name, o := named(t, size, nil)
	m := mapAll(t, o, shm.ReadWrite)
	inChild(t, shrink, name, nil)
	buf := make([]byte, 200_000)
	for call, do := range map[string]func([]byte, int64) (int, error){"ReadAt": m.ReadAt, "WriteAt": m.WriteAt} {
		for _, off := range []int64{0, 4000, 4096, size - int64(len(buf))} {
			n, err := do(buf, off)
			if err := wants(err, unix.EFAULT); err != nil || n != 0 {
				t.Errorf("%s at %d: %d, %v", call, off, n, err)
			}
		}
		if n, err := do(buf[:4096], 0); n != 4096 || err != nil {
			t.Errorf("%s of what is left: %d, %v", call, n, err)
		}
	}
	if o.Size() != 4096 {
		t.Errorf("size %d", o.Size())
	}
	if err := wants(second(o.Map(4096, 4096, shm.ReadWrite)), unix.EINVAL); err != nil {
		t.Error(err)
	}
	if err := m.Remap(0); err != nil || len(m.Bytes()) != 4096 {
		t.Errorf("Remap: %v, %d bytes", err, len(m.Bytes()))
	}
	if n, err := m.ReadAt(buf, 0); n != 4096 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	// It comes back if somebody grows it; Grow is told the truth, not its memory.
	if err := o.Grow(8192); err != nil || o.Size() != 8192 {
		t.Errorf("Grow: %v, size %d", err, o.Size())
	}
}

// A fault elsewhere, in the caller's own slice, is the caller's.
func TestFaultElsewhere(t *testing.T) {
	name, o := named(t, 8192, nil)
	theirs := mapAll(t, o, shm.ReadWrite)
	m := mapAll(t, object(t, 8192), shm.ReadWrite)
	if err := os.Truncate("/dev/shm/"+name, 4096); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, ok := recover().(interface{ Addr() uintptr }); !ok {
			t.Error("no panic")
		}
		if debug.SetPanicOnFault(false) {
			t.Error("faults still panic after the copy")
		}
	}()
	m.ReadAt(theirs.Bytes(), 0)
}

// A part of the mapping may be copied over another one.
func TestReadAtWriteAtOverlap(t *testing.T) {
	m := mapAll(t, object(t, 400_000), shm.ReadWrite)
	for _, n := range []int{8192, 200_000} {
		for what, call := range map[string]func(from, to int) (int, error){
			"WriteAt": func(from, to int) (int, error) { return m.WriteAt(m.Bytes()[from:from+n], int64(to)) },
			"ReadAt":  func(from, to int) (int, error) { return m.ReadAt(m.Bytes()[to:to+n], int64(from)) },
		} {
			for _, way := range [][2]int{{0, 64}, {64, 0}} {
				for i := range m.Bytes() {
					m.Bytes()[i] = byte(i*7 + i>>8)
				}
				want := bytes.Clone(m.Bytes()[way[0] : way[0]+n])
				if k, err := call(way[0], way[1]); k != n || err != nil {
					t.Fatal(what, k, err)
				}
				if !bytes.Equal(m.Bytes()[way[1]:way[1]+n], want) {
					t.Errorf("%s of %d bytes from %d to %d: wrong bytes", what, n, way[0], way[1])
				}
			}
		}
	}
}
