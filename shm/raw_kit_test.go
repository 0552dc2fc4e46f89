package shm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

var nameCount atomic.Int64

// newName is a name that nobody has, and that is gone when the test is.
func newName(t testing.TB) string {
	name := fmt.Sprintf("rawipc-test-%d-%d", os.Getpid(), nameCount.Add(1))
	t.Cleanup(func() { os.Remove("/dev/shm/" + name) })
	return name
}

// named makes an object under a name of its own.
func named(t testing.TB, size int64, attr *shm.Attr) (string, *shm.Object) {
	t.Helper()
	name := newName(t)
	o, err := shm.Create(name, size, attr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return name, o
}

func mapAll(t testing.TB, o *shm.Object, prot shm.Prot) *shm.Mapping {
	t.Helper()
	m, err := o.Map(0, 0, prot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func errorf(format string, a ...any) error { return fmt.Errorf(format, a...) }

// hang is what no child takes longer than, unless it hangs.
const hang = 60 * time.Second

// inChild runs f in a process of its own and fails the test with what it says.
func inChild(t testing.TB, f *proc.Func[string], arg string, sys *syscall.SysProcAttr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	p, err := f.StartCmd(ctx, &proc.Cmd{Sys: sys}, arg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// nobody is a user who owns nothing.
const nobody = 65534

// lacks skips the test for want of a right, which CI promises to have.
func lacks(t testing.TB, format string, a ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, a...)
	}
	t.Skipf(format, a...)
}

func asNobody(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		lacks(t, "needs root, to start a process of another user")
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// wants says what an error should have been.
func wants(got error, want ...error) error {
	for _, w := range want {
		if !errors.Is(got, w) {
			return fmt.Errorf("error %w, want %w", errOrNone(got), w)
		}
	}
	return nil
}

var errNone = errors.New("none")

func errOrNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// oneOf is wants for errors that depend on the machine.
func oneOf(got error, want ...error) error {
	for _, w := range want {
		if errors.Is(got, w) {
			return nil
		}
	}
	return fmt.Errorf("error %w, want one of %v", errOrNone(got), want)
}

func stat(t testing.TB, name string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat("/dev/shm/"+name, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// filed is the mode of a file, and no other kind, but for the sticky bit, which
// marks our own where they have no attributes (Linux before 6.6).
func filed(st *unix.Stat_t) uint32 { return (st.Mode &^ unix.S_ISVTX) - unix.S_IFREG }

// gone says whether no name begins with prefix.
func gone(t testing.TB, prefix string) {
	t.Helper()
	entries, err := os.ReadDir("/dev/shm")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			t.Errorf("%s is still there", e.Name())
		}
	}
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
