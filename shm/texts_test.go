package shm_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// An error says what was wrong with what, and to whom.
func TestErrorTexts(t *testing.T) {
	name := freshName(t)
	v, err := shm.CreateValue(name, 1, nil)
	must(t, err)
	defer v.Close()
	m, err := object(t, 4096).Map(0, 0, shm.ReadWrite)
	must(t, err)
	defer m.Close()
	in, err := shm.NewValueAt(m, 64, 1)
	must(t, err)
	defer in.Close()
	fixed, err := shm.CreateAnon("fixed", 4096, nil)
	must(t, err)
	defer fixed.Close()
	for _, row := range []struct {
		got   error
		want  error
		texts []string
	}{
		{second(shm.OpenQueue[int](name, nil)), shm.ErrCorrupt, []string{"open /dev/shm/" + name + ": ", "kind Value, want Queue"}},
		{second(shm.OpenQueueAt[int](m, 64)), shm.ErrCorrupt, []string{"open memfd:", " at 64: ", "kind Value, want Queue"}},
		{second(shm.Open("", nil)), unix.EINVAL, []string{"the name is empty"}},
		{second(shm.Open("/", nil)), unix.EINVAL, []string{"open /: ", "the name is empty"}},
		{second(shm.Open("..", nil)), unix.EINVAL, []string{`".." is a directory`}},
		{second(shm.Open("a/b", nil)), unix.EINVAL, []string{`the name "a/b" has a slash`}},
		{second(shm.Open("a\x00b", nil)), unix.EINVAL, []string{`the name "a\x00b" has a zero byte`}},
		{second(shm.Sweep("")), unix.EINVAL, []string{"the prefix is empty"}},
		{second(shm.Sweep("/a/b")), unix.EINVAL, []string{`the prefix "a/b" has a slash`}},
		{second(shm.FromFile(nil, nil)), unix.EINVAL, []string{"shm: FromFile of no file"}},
		{fixed.Grow(8192), unix.EPERM, []string{"from 4096 to 8192", "not made Growable"}},
		{second(shm.At[*int](m, 0)), nil, []string{"shm: *int is a ptr"}},
		{second(shm.At[int64](m, 4096)), unix.EINVAL, []string{"shm: int64 (8 bytes) at offset 4096 of 4096 bytes"}},
		{second(shm.At[int64](m, 4)), unix.EINVAL, []string{"shm: int64 at offset 4, want a multiple of 8"}},
		{second(shm.SliceAt[int64](m, -8, 1)), unix.EINVAL, []string{"shm: int64 (8 bytes) at offset -8"}},
	} {
		if row.want != nil && !errors.Is(row.got, row.want) {
			t.Errorf("%v, want %v", row.got, row.want)
		}
		for _, text := range row.texts {
			if !strings.Contains(fmt.Sprint(row.got), text) {
				t.Errorf("%q, want %q in it", fmt.Sprint(row.got), text)
			}
		}
	}
	var path *fs.PathError
	if err := second(shm.OpenArray[int](name, nil)); !errors.As(err, &path) || path.Path != "/dev/shm/"+name {
		t.Errorf("%v, want a *fs.PathError", err)
	}
}

// What can't be there takes no room, and holds no message.
func TestNoSizes(t *testing.T) {
	for what, got := range map[string]int{
		"SharedSize": shm.SharedSize[string](), "ValueSize": shm.ValueSize[[]int](), "ArraySize": shm.ArraySize[any](1),
		"QueueSize": shm.QueueSize[*int](1), "ValueSize of a lock": shm.ValueSize[busyLocks](),
	} {
		if got != -1 {
			t.Errorf("%s: %d, want -1", what, got)
		}
	}
	for what, got := range map[string]int{
		"MessageQueue": new(shm.MessageQueue).MaxMessage(), "RingWriter": new(shm.RingWriter).MaxMessage(),
		"RingReader": new(shm.RingReader).MaxMessage(),
	} {
		if got != 0 {
			t.Errorf("MaxMessage of a zero %s: %d, want 0", what, got)
		}
	}
}

// Advance consumes what Peek showed, not what Recv had no room for.
func TestAdvanceAfterShortBuffer(t *testing.T) {
	w, r := newRing(t, 1)
	must(t, w.Send(bg, make([]byte, 16)), w.Send(bg, make([]byte, 8)))
	short := func() {
		t.Helper()
		if _, err := r.Recv(bg, make([]byte, 4)); !errors.Is(err, shm.ErrShortBuffer) {
			t.Fatalf("%v, want %v", err, shm.ErrShortBuffer)
		}
	}
	panics := func(want string, call func()) {
		t.Helper()
		defer func() {
			if got := recover(); got != want {
				t.Errorf("panic with %v, want %q", got, want)
			}
		}()
		call()
	}
	short()
	panics("shm: Advance without Peek", r.Advance)
	if msg, err := r.Peek(bg); len(msg) != 16 || err != nil {
		t.Fatalf("%d bytes, %v; want the 16 that stayed", len(msg), err)
	}
	short()
	r.Advance()
	if n, err := r.Recv(bg, make([]byte, 16)); n != 8 || err != nil {
		t.Errorf("%d bytes, %v; want 8", n, err)
	}
	panics("shm: Commit without Reserve", func() { w.Commit(0) })
	_, err := w.Reserve(bg, 4)
	must(t, err)
	panics("shm: Commit of 5 bytes, want 0 to the 4 that are reserved", func() { w.Commit(5) })
}
