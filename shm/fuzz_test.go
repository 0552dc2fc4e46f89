package shm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzName takes any name: what is accepted is one file in the directory of
// objects and nothing else, what is not gets the error of its kind. Opening
// creates nothing.
func FuzzName(f *testing.F) {
	for _, name := range []string{"", "/", ".", "/..", "a", "/a", "//a", "a/b", "/a/", "a\x00b", "...", "\xff\xfe", "/ ", "-", ".rawipc-draft-",
		strings.Repeat("n", 255), "/" + strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("ä", 128)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		path, err := pathOf("open", name)
		if err == nil {
			base := strings.TrimPrefix(name, "/")
			if path != filepath.Clean(path) || filepath.Dir(path) != dir || filepath.Base(path) != base || len(base) > unix.NAME_MAX {
				t.Fatalf("%q leads to %q", name, path)
			}
		} else if p := (*fs.PathError)(nil); !errors.As(err, &p) || p.Path != name || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENAMETOOLONG) {
			t.Fatalf("%q: %v", name, err)
		}
		o, oerr := OpenReadOnly(name, nil)
		if oerr == nil {
			o.Close()
		}
		if (err != nil) != (errors.Is(oerr, unix.EINVAL) || errors.Is(oerr, unix.ENAMETOOLONG)) && !errors.Is(oerr, ErrOwner) {
			t.Errorf("%q: pathOf says %v, Open %v", name, err, oerr)
		}
		if err != nil {
			// What is no name is none for those who change something either.
			_, cerr := Create(name, 1, nil)
			if uerr := Unlink(name); cerr == nil || uerr == nil {
				t.Errorf("%q: Create: %v, Unlink: %v", name, cerr, uerr)
			}
		}
	})
}

// FuzzText gives the readers of a header's text what a peer wrote there: the
// name of a codec, and a layout that does not fit.
func FuzzText(f *testing.F) {
	f.Add([]byte(messageLayout+codecLayout+"json"), uint64(len(messageLayout+codecLayout+"json")), "x")
	f.Add([]byte(codecLayout), ^uint64(0), "struct{int64@0}8")
	f.Add([]byte(messageLayout+", gob"), uint64(3), messageLayout+", gob")
	f.Add([]byte{}, uint64(1)<<63, "")
	f.Fuzz(func(t *testing.T, text []byte, length uint64, ours string) {
		h := header{textLen: length}
		copy(h.text[:], text)
		mem := aligned(t, headerSize)
		if err := h.write(mem); err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(memfdWith(t, mem)), "hostile")
		defer file.Close()
		if name := codecOf(file); len(name) > len(h.text) {
			t.Errorf("a codec of %d bytes", len(name))
		}
		var q ObjectQueue[int]
		if err := q.prepare(codecOf(file)); err == nil && q.codec == nil {
			t.Error("no codec and no error")
		}
		if len(ours) < 4096 {
			if s := misfit(h.text[:min(length, uint64(len(h.text)))], length, ours); len(s) > 4096 {
				t.Errorf("%d bytes of explanation", len(s))
			}
		}
	})
}

func memfdWith(t *testing.T, b []byte) int {
	fd, err := unix.MemfdCreate("hostile", unix.MFD_CLOEXEC)
	if err == nil {
		_, err = unix.Pwrite(fd, b, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
