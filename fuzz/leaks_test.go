package fuzz_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"golang.org/x/sys/unix"
)

// Each kind of thing is seen while it is there, and no longer.
func TestLeaksAreSeen(t *testing.T) {
	name := fmt.Sprintf("rawipc-fuzz-leak-%d", os.Getpid())
	for _, row := range []struct {
		what string
		leak func(t *testing.T) (mend func())
		want string // in a line
	}{
		{"descriptor", func(t *testing.T) func() {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			must(t, err)
			return func() { unix.Close(fd) }
		}, "anon_inode:[eventfd]"},
		{"mapping", func(t *testing.T) func() {
			fd, err := unix.MemfdCreate("leaked one", unix.MFD_CLOEXEC)
			must(t, err)
			must(t, unix.Ftruncate(fd, 4096))
			mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
			must(t, err)
			unix.Close(fd)
			return func() { unix.Munmap(mem) }
		}, "mapping of /memfd:leaked one"},
		{"running child", func(t *testing.T) func() {
			cmd := exec.Command("sleep", "60")
			must(t, cmd.Start())
			return func() { cmd.Process.Kill(); cmd.Wait() }
		}, "child "},
		{"dead child", func(t *testing.T) func() {
			cmd := exec.Command("true")
			must(t, cmd.Start())
			time.Sleep(20 * time.Millisecond)
			return func() { cmd.Wait() }
		}, "child "},
		{"name", func(t *testing.T) func() {
			must(t, os.WriteFile("/dev/shm/"+name, nil, 0o600))
			return func() { os.Remove("/dev/shm/" + name) }
		}, "the name " + name + " in /dev/shm"},
		{"queue", func(t *testing.T) func() {
			fd, err := mqOpen(name)
			must(t, err)
			unix.Close(fd)
			if fs, err := unix.Fsopen("mqueue", unix.FSOPEN_CLOEXEC); err != nil {
				mqUnlink(name)
				t.Skipf("the queues can't be listed here: %v", err)
			} else {
				unix.Close(fs)
			}
			return func() { mqUnlink(name) }
		}, "the message queue /" + name},
	} {
		t.Run(row.what, func(t *testing.T) {
			before := fuzz.Hold()
			mend := row.leak(t)
			seen := before.LeaksNow()
			mend()
			if !strings.Contains(strings.Join(seen, "\n"), row.want) {
				t.Errorf("saw %q, want %q in it", seen, row.want)
			}
			if left := before.Leaks(); len(left) > 0 {
				t.Errorf("still there: %q", left)
			}
		})
	}
}

// A name that another process has open is that one's.
func TestLeaksSparesNamesOfOthers(t *testing.T) {
	name := fmt.Sprintf("/dev/shm/rawipc-fuzz-other-%d", os.Getpid())
	before := fuzz.Hold()
	f, err := os.Create(name)
	must(t, err)
	defer os.Remove(name)
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{f}
	must(t, cmd.Start())
	f.Close()
	isSeen := func() bool {
		return strings.Contains(strings.Join(before.LeaksNow(), "\n"), "the name "+filepath.Base(name))
	}
	if isSeen() {
		t.Error("blamed for a name that a child holds")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if !isSeen() {
		t.Error("not blamed for it after the child's end")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// So is one that has its number.
func TestLeaksSparesNumbersOfOthers(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	before := fuzz.Hold()
	name := fmt.Sprintf("rawipc-fuzz-%d-1-other", cmd.Process.Pid)
	must(t, os.WriteFile("/dev/shm/"+name, nil, 0o600))
	defer os.Remove("/dev/shm/" + name)
	own := fmt.Sprintf("rawipc-fuzz-%d-%d-own", cmd.Process.Pid, os.Getpid())
	must(t, os.WriteFile("/dev/shm/"+own, nil, 0o600))
	defer os.Remove("/dev/shm/" + own)
	if left := fmt.Sprint(before.LeaksNow()); strings.Contains(left, name) || !strings.Contains(left, own) {
		t.Errorf("left behind: %s; want %s and not %s", left, own, name)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if left := fmt.Sprint(before.LeaksNow()); !strings.Contains(left, name) {
		t.Errorf("left behind: %s, want %s", left, name)
	}
}

// A file that nothing leads to is open until the collector finds it.
func TestLeaksOfAForgottenFile(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := fuzz.Hold()
	_, err := os.Open("/dev/zero")
	must(t, err)
	fuzz.LeakPatience(50 * time.Millisecond)
	left := before.Leaks()
	fuzz.LeakPatience(5 * time.Second)
	if !strings.Contains(strings.Join(left, ", "), "/dev/zero") {
		t.Errorf("left behind: %q, want the file", left)
	}
	runtime.GC()
	if left := before.Leaks(); len(left) > 0 {
		t.Errorf("left behind, after the collector: %q", left)
	}
}
