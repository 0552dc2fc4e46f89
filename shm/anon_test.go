package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func seals(t testing.TB, f *os.File) (s int) {
	t.Helper()
	onFD(t, f, func(fd int) (err error) {
		s, err = unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		return err
	})
	return s
}

// onFD runs a raw call and returns its error, which fails nothing.
func onFD(t testing.TB, f *os.File, call func(fd int) error) error {
	t.Helper()
	c, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = call(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return failed
}

func addSeal(t testing.TB, f *os.File, seal int) error {
	t.Helper()
	return onFD(t, f, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seal)
		return err
	})
}

// rawMemfd is a memory file that is not ours.
func rawMemfd(t testing.TB, flags int, size int64) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("foreign", unix.MFD_CLOEXEC|flags)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "foreign")
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// A write mapping keeps the seal against writing away; ours has all seals that
// it needs, and takes no more.
func TestCase032WriteSeal(t *testing.T) {
	f := rawMemfd(t, unix.MFD_ALLOW_SEALING, 4096)
	o, err := shm.FromFile(f, &shm.Attr{AllowUnsealed: true})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	m := mapAll(t, o, shm.ReadWrite)
	if err := addSeal(t, f, unix.F_SEAL_WRITE); err != unix.EBUSY {
		t.Errorf("while it is mapped for writing: %v", err)
	}
	m.Close()
	if err := addSeal(t, f, unix.F_SEAL_WRITE); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := wants(second(o.Map(0, 0, shm.ReadWrite)), unix.EPERM); err != nil {
		t.Error(err)
	}
	mapAll(t, o, shm.ReadOnly)
}

// peek is the peer of an object that it may only read.
var peek = proc.Register("shm-peek", func(_ context.Context, f *os.File) error {
	o, err := shm.FromFile(f, nil)
	if err != nil {
		return err
	}
	defer o.Close()
	m, err := o.Map(0, 0, shm.ReadOnly)
	if err != nil {
		return err
	}
	defer m.Close()
	if got := string(m.Bytes()[:7]); got != "look at" {
		return errorf("%q", got)
	}
	_, err = o.File().WriteAt([]byte("x"), 0)
	// Nor by opening it anew.
	again, err2 := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", o.File().Fd()), os.O_RDWR, 0)
	if err2 == nil {
		defer again.Close()
		_, err2 = unix.Mmap(int(again.Fd()), 0, 4096, unix.PROT_WRITE, unix.MAP_SHARED)
	}
	return errors.Join(
		wants(second(o.Map(0, 0, shm.ReadWrite)), unix.EPERM),
		wants(err, unix.EPERM),
		wants(err2, unix.EPERM),
		wants(second(m.WriteAt([]byte("x"), 0)), unix.EACCES))
})

func TestCase033ReadOnlyPeers(t *testing.T) {
	o, err := shm.CreateAnon("peek", 8192, &shm.Attr{ReadOnlyPeers: true})
	if err != nil {
		t.Fatal(err)
	}
	m := mapAll(t, o, shm.ReadWrite)
	half, err := o.Map(4096, 4096, shm.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.WriteAt([]byte("look at"), 0); err != nil {
		t.Error(err)
	}
	p, err := peek.Start(t.Context(), o.File())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	// Its owner writes on, after Close as well, and sees one memory.
	if err := errors.Join(o.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	if _, err := half.WriteAt([]byte("more"), 4092); err != nil {
		t.Error(err)
	}
	if b := half.Bytes(); len(b) != 4096 || cap(b) != 4096 || string(b[4092:]) != "more" {
		t.Errorf("%d of %d bytes, %q", len(b), cap(b), b[4092:])
	}
	if err := half.Remap(0); err != nil {
		t.Error(err)
	}
	if err := half.Close(); err != nil {
		t.Error(err)
	}
}

func TestCase034NoSealing(t *testing.T) {
	f := rawMemfd(t, 0, 4096)
	if s := seals(t, f); s != unix.F_SEAL_SEAL {
		t.Errorf("seals %#x", s)
	}
	if err := addSeal(t, f, unix.F_SEAL_SHRINK); err != unix.EPERM {
		t.Errorf("one more: %v", err)
	}
	if err := wants(second(shm.FromFile(f, nil)), fs.ErrPermission); err != nil {
		t.Error(err)
	}
}

func TestCase035SealsTravel(t *testing.T) {
	o := object(t, 4096)
	want := seals(t, o.File())
	if need := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW; want&need != need {
		t.Fatalf("seals %#x", want)
	}
	var copies []*os.File
	onFD(t, o.File(), func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		anew, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		copies = append(copies, os.NewFile(uintptr(dup), "dup"), anew)
		return nil
	})
	for _, f := range copies {
		if got := seals(t, f); got != want {
			t.Errorf("%s: seals %#x, want %#x", f.Name(), got, want)
		}
		c, err := shm.FromFile(f, nil)
		if err != nil {
			t.Errorf("%s: %v", f.Name(), err)
			continue
		}
		c.Close()
	}
}

func TestCase036Labels(t *testing.T) {
	longest := strings.Repeat("l", 249)
	o, err := shm.CreateAnon(longest, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := wants(second(shm.CreateAnon(longest+"l", 1, nil)), unix.EINVAL); err != nil {
		t.Error(err)
	}
}

// executable says what could run as code of what is mapped.
func executable() (lines []string) {
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		if len(f) > 5 && strings.Contains(f[1], "x") && (strings.HasPrefix(f[5], "/memfd:") || strings.HasPrefix(f[5], "/dev/shm")) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestCase273NeverExecuted(t *testing.T) {
	const noExec = 0x20 // F_SEAL_EXEC
	o := object(t, 4096)
	fi, err := o.File().Stat()
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode()&0o111 != 0 || seals(t, o.File())&noExec == 0 {
		fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
		if err == nil {
			unix.Close(fd)
			t.Errorf("mode %v, seals %#x", fi.Mode(), seals(t, o.File()))
		}
	}
	name, n := named(t, 4096, nil)
	if st := stat(t, name); st.Mode&0o111 != 0 {
		t.Errorf("mode %#o", st.Mode)
	}
	for _, obj := range []*shm.Object{o, n} {
		mapAll(t, obj, shm.ReadOnly)
		mapAll(t, obj, shm.ReadWrite)
		for _, prot := range []shm.Prot{0, unix.PROT_WRITE, unix.PROT_EXEC, shm.ReadOnly | unix.PROT_EXEC, shm.ReadWrite | unix.PROT_EXEC} {
			if err := wants(second(obj.Map(0, 0, prot)), unix.EINVAL); err != nil {
				t.Errorf("protection %#x: %v", int(prot), err)
			}
		}
	}
	if lines := executable(); lines != nil {
		t.Errorf("%s", lines)
	}
}
