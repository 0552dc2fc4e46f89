package fuzz_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
)

// The calls are counted one by one, each is refused, and nothing of the Go
// runtime's or of another thread's is.
func TestFailEachCounts(t *testing.T) {
	var refused []int
	rep := fuzz.FailEach(t, &fuzz.Faults{Errnos: []unix.Errno{unix.EXFULL}}, func(fail func(func() error) error) error {
		at := 0
		err := fail(func() error {
			for i := 1; i <= 3; i++ {
				if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); err != nil {
					at = i
					return os.NewSyscallError("fcntl", err)
				}
				done := make(chan error)
				go func() { // elsewhere
					_, err := unix.FcntlInt(0, unix.F_GETFD, 0)
					done <- err
				}()
				if err := <-done; err != nil {
					return fmt.Errorf("another thread: %v", err)
				}
			}
			return nil
		})
		if (err == nil) != (at == 0) {
			return fmt.Errorf("the operation failed at %d, fail returned %v", at, err)
		}
		refused = append(refused, at)
		return nil
	})
	if want := []int{1, 2, 3, 0}; !slices.Equal(refused, want) || rep.Sites != 3 || rep.Rounds != 3 || rep.Tolerated != 0 {
		t.Errorf("refused %v and %+v, want %v", refused, rep, want)
	}
}

// What is spared never fails; futex(2) is one call by its name, and its wakes are
// one by theirs.
func TestFailEachSpares(t *testing.T) {
	var word atomic.Uint32
	for _, c := range []struct {
		spare []string
		sites int
	}{
		{nil, 3}, {[]string{"futex_wake"}, 2}, {[]string{"futex"}, 1}, {[]string{"futex", "fcntl"}, 0},
	} {
		rep := fuzz.FailEach(t, &fuzz.Faults{Errnos: []unix.Errno{unix.EXFULL}, Spare: c.spare}, func(fail func(func() error) error) error {
			fail(func() error {
				_, err := unix.FcntlInt(0, unix.F_GETFD, 0)
				if err == nil {
					_, err = futex.Wake(&word, 1)
				}
				if err == nil {
					err = futex.Wait(&word, 1) // another value: it returns at once
				}
				if e := syscall.Errno(0); errors.As(err, &e) {
					return os.NewSyscallError("call", e)
				}
				return err
			})
			return nil
		})
		if rep.Sites != c.sites {
			t.Errorf("%q spared: %d calls can fail, want %d", c.spare, rep.Sites, c.sites)
		}
	}
}

// What an operation forgets when a call fails, and errors that tell nothing.
func TestFailEachFinds(t *testing.T) {
	if isChild(t) {
		fuzz.LeakPatience(100 * time.Millisecond)
		fuzz.FailEach(t, &fuzz.Faults{Errnos: []unix.Errno{unix.EMFILE}}, func(fail func(func() error) error) error {
			return fail(func() error {
				fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
				if err != nil {
					return errors.New("no luck")
				}
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
					return os.NewSyscallError("fcntl", err) // and fd?
				}
				return unix.Close(fd)
			})
		})
		return
	}
	out, err := again(t, t.Name())
	for _, want := range []string{"EMFILE at system call 1, eventfd2", "no luck", "EMFILE at system call 2, fcntl", "left behind: descriptor"} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, without %q:\n%s", err, want, out)
		}
	}
}

// One mistake may fail every round that follows.
func TestFailEachEnds(t *testing.T) {
	if isChild(t) {
		n := 0
		fuzz.FailEach(t, nil, func(fail func(func() error) error) error {
			n++
			fail(func() error { _, err := os.ReadFile("/dev/null"); return err })
			return fmt.Errorf("round %d", n)
		})
		return
	}
	out, err := again(t, t.Name())
	if err == nil || !strings.Contains(out, "5 rounds failed") || strings.Count(out, ": round ") != 5 {
		t.Errorf("%v:\n%s", err, out)
	}
}

// What go test has written down meanwhile is no call of the operation.
func TestFailEachTestLog(t *testing.T) {
	for name, want := range map[string]int{"testlog.txt": 0, "other.txt": 2} {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fd := int(f.Fd())
		rep := fuzz.FailEach(t, &fuzz.Faults{Errnos: []unix.Errno{unix.ENOMEM}}, func(fail func(func() error) error) error {
			fail(func() error {
				_, err := unix.Write(fd, []byte("x"))
				_, err2 := unix.Write(fd, []byte("y"))
				return os.NewSyscallError("write", errors.Join(err, err2))
			})
			return nil
		})
		if rep.Sites != want {
			t.Errorf("%s: %d sites, want %d", name, rep.Sites, want)
		}
	}
}
