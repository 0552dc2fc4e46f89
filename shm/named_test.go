package shm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestCase001CreateIsZero(t *testing.T) {
	for _, size := range []int64{1, 4096, 5000, 1 << 20, 40<<20 + 1} {
		name, o := named(t, size, nil)
		if st := stat(t, name); st.Size != size || st.Blocks*512 < size || o.Size() != size {
			t.Errorf("size %d: %d bytes, %d allocated, Size %d", size, st.Size, st.Blocks*512, o.Size())
		}
		if m := mapAll(t, o, shm.ReadWrite); int64(len(m.Bytes())) != size || !isZero(m.Bytes()) {
			t.Errorf("size %d: %d bytes mapped, or not zero", size, len(m.Bytes()))
		}
		if err := shm.Unlink(name); err != nil {
			t.Error(err)
		}
	}
}

func TestCase002CreateIsExclusive(t *testing.T) {
	name, o := named(t, 4096, nil)
	m := mapAll(t, o, shm.ReadWrite)
	copy(m.Bytes(), "what was there")
	before := bytes.Clone(m.Bytes())
	for _, n := range []string{name, "/" + name} {
		_, err := shm.Create(n, 8192, nil)
		if err := wants(err, fs.ErrExist, unix.EEXIST); err != nil {
			t.Errorf("Create(%q): %v", n, err)
		}
	}
	if !bytes.Equal(m.Bytes(), before) || o.Size() != 4096 {
		t.Error("the second Create changed the object")
	}
}

func TestCase004OpenAbsent(t *testing.T) {
	name := newName(t)
	for what, err := range map[string]error{"Open": second(shm.Open(name, nil)), "OpenReadOnly": second(shm.OpenReadOnly(name, nil))} {
		var path *fs.PathError
		if err := wants(err, fs.ErrNotExist); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !errors.As(err, &path) || path.Path != "/dev/shm/"+name {
			t.Errorf("%s: %v names no path", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestCase006Names(t *testing.T) {
	longest := newName(t)
	longest += strings.Repeat("n", 255-len(longest))
	o, err := shm.Create(longest, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	if err := shm.Unlink("/" + longest); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]error{
		longest + "n": unix.ENAMETOOLONG,
		"":            unix.EINVAL,
		"/":           unix.EINVAL,
		".":           unix.EINVAL,
		"/..":         unix.EINVAL,
		"a/b":         unix.EINVAL,
		"//a":         unix.EINVAL,
		"../shm/a":    unix.EINVAL,
		"a\x00b":      unix.EINVAL,
	} {
		_, created := shm.Create(name, 1, nil)
		_, opened := shm.Open(name, nil)
		for _, err := range []error{created, opened, shm.Unlink(name)} {
			if err := wants(err, want); err != nil {
				t.Errorf("%.20q: %v", name, err)
			}
		}
	}
}

// asMode creates with mode 0666 and umask 022, as another user where that can
// be, and looks at what came of it.
var asMode = proc.Register("shm-mode", func(_ context.Context, name string) error {
	unix.Umask(0o022)
	o, err := shm.Create(name, 1, &shm.Attr{Mode: 0o666})
	if err != nil {
		return err
	}
	defer o.Close()
	defer shm.Unlink(name)
	var st unix.Stat_t
	if err := unix.Lstat("/dev/shm/"+name, &st); err != nil {
		return err
	}
	if filed(&st) != 0o644 || int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid() {
		return errorf("mode %#o, owner %d:%d", st.Mode, st.Uid, st.Gid)
	}
	return nil
})

func TestCase007Umask(t *testing.T) {
	inChild(t, asMode, newName(t), nil)
	t.Run("as nobody", func(t *testing.T) { inChild(t, asMode, newName(t), asNobody(t)) })
}

func TestCase008DefaultMode(t *testing.T) {
	name, o := named(t, 1, nil)
	if st := stat(t, name); filed(&st) != 0o600 {
		t.Errorf("mode %#o", st.Mode)
	}
	o.Close()
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
	if _, err := shm.Create(name, 1, &shm.Attr{Mode: fs.ModeSetuid | 0o600}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("setuid: %v", err)
	}
}

func TestCase011UnlinkAbsent(t *testing.T) {
	name := newName(t)
	if err := wants(shm.Unlink(name), fs.ErrNotExist); err != nil {
		t.Error(err)
	}
	o, err := shm.Create(name, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
	for call, err := range map[string]error{
		"Unlink": shm.Unlink(name), "Open": second(shm.Open(name, nil)), "OpenReadOnly": second(shm.OpenReadOnly(name, nil)),
	} {
		if err := wants(err, fs.ErrNotExist); err != nil {
			t.Errorf("%s of what is unlinked and open: %v", call, err)
		}
	}
}

func TestCase013NameUsedAgain(t *testing.T) {
	name, a := named(t, 4096, nil)
	old := mapAll(t, a, shm.ReadWrite)
	copy(old.Bytes(), "old")
	if err := shm.Unlink(name); err != nil {
		t.Fatal(err)
	}
	b, err := shm.Create(name, 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	m := mapAll(t, b, shm.ReadWrite)
	if !isZero(m.Bytes()) {
		t.Error("the new object has the old one's bytes")
	}
	copy(m.Bytes(), "new")
	if string(old.Bytes()[:3]) != "old" {
		t.Error("the old mapping sees the new bytes")
	}
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
}

func TestCase025OpenTwice(t *testing.T) {
	name, a := named(t, 4096, nil)
	b, err := shm.Open("/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Each has a place in the file of its own.
	if _, err := a.File().Seek(9, io.SeekStart); err != nil {
		t.Error(err)
	}
	if at, err := b.File().Seek(0, io.SeekCurrent); at != 0 || err != nil {
		t.Errorf("the other one is at %d, %v", at, err)
	}
	ma, mb := mapAll(t, a, shm.ReadWrite), mapAll(t, b, shm.ReadWrite)
	ma.Bytes()[9] = 9
	if err := errors.Join(ma.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if mb.Bytes()[9] != 9 {
		t.Error("two objects")
	}
	mb.Bytes()[9] = 10
	if names, err := shm.Sweep(name); len(names) != 0 || err != nil {
		t.Errorf("in use and swept: %v, %v", names, err)
	}
	b.Close()
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
}

// sortedSweep is Sweep with an answer that can be compared.
func sortedSweep(t testing.TB, prefix string) []string {
	t.Helper()
	names, err := shm.Sweep(prefix)
	if err != nil {
		t.Error(err)
	}
	slices.Sort(names)
	return names
}
