package shm_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// denied finds that it can neither open nor unlink the object of another user.
var denied = proc.Register("shm-denied", func(_ context.Context, name string) error {
	for _, attr := range []*shm.Attr{nil, {Owners: []int{0}}} {
		_, rw := shm.Open(name, attr)
		_, ro := shm.OpenReadOnly(name, attr)
		if err := errors.Join(wants(rw, unix.EACCES, fs.ErrPermission), wants(ro, unix.EACCES)); err != nil {
			return err
		}
	}
	if names, err := shm.Sweep(name); len(names) != 0 || err != nil {
		return errorf("swept another's: %v, %v", names, err)
	}
	return wants(shm.Unlink(name), fs.ErrPermission)
})

// Case 14 is the unlinking, 15 the opening.
func TestCase015AnothersObject(t *testing.T) {
	sys := asNobody(t)
	name, o := named(t, 4096, nil)
	before := stat(t, name)
	o.Close() // so that only the owner keeps it from being swept
	inChild(t, denied, name, sys)
	if now := stat(t, name); now.Ino != before.Ino {
		t.Error("another object")
	}
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
}

// plants are what somebody may put under our name.
var plants = []struct {
	what string
	put  func(t *testing.T, path string) error
	is   error // of Open and Unlink
}{
	{"symbolic link", func(t *testing.T, path string) error { return os.Symlink(target(t), path) }, unix.ELOOP},
	{"dangling link", func(t *testing.T, path string) error { return os.Symlink("/dev/shm/rawipc-test-none", path) }, unix.ELOOP},
	{"FIFO", func(t *testing.T, path string) error { return unix.Mkfifo(path, 0o666) }, unix.EINVAL},
	{"directory", func(t *testing.T, path string) error { return os.Mkdir(path, 0o777) }, nil},
	{"socket", func(t *testing.T, path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o666, 0) }, unix.ENXIO},
	{"device", func(t *testing.T, path string) error {
		return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 7))) // /dev/full
	}, unix.EINVAL},
}

const targetText = "not to be touched"

// target is a file of the user that a link could lead to.
func target(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(path, []byte(targetText), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if got, _ := os.ReadFile(path); string(got) != targetText {
			t.Errorf("the target is %q", got)
		}
	})
	return path
}

// Nothing that is no object is opened, created over, unlinked or swept, and
// nobody waits for it. The links are case 259, the rest is 260.
func TestCase260Planted(t *testing.T) {
	for _, p := range plants {
		t.Run(p.what, func(t *testing.T) {
			name := newName(t)
			path := "/dev/shm/" + name
			if err := p.put(t, path); err != nil {
				t.Skipf("can't make a %s: %v", p.what, err)
			}
			before := stat(t, name)
			start := time.Now()
			_, created := shm.Create(name, 4096, nil)
			_, taken := shm.Create(name, 4096, &shm.Attr{Truncate: true})
			_, opened := shm.Open(name, nil)
			_, read := shm.OpenReadOnly(name, nil)
			unlinked := shm.Unlink(name)
			names, swept := shm.Sweep(name)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			} else {
				t.Logf("six calls took %v", took)
			}
			if err := wants(created, fs.ErrExist); err != nil {
				t.Errorf("Create: %v", err)
			}
			if p.is == unix.ELOOP {
				if err := wants(created, unix.ELOOP); err != nil {
					t.Errorf("Create: %v", err)
				}
			}
			for call, err := range map[string]error{"Create with Truncate": taken, "Open": opened, "OpenReadOnly": read, "Unlink": unlinked} {
				if err == nil || p.is != nil && !errors.Is(err, p.is) {
					t.Errorf("%s: %v, want %v", call, err, p.is)
				}
				if kind, _, _ := strings.Cut(p.what, " "); err != nil && kind != "dangling" && !strings.Contains(err.Error(), kind) {
					t.Errorf("%s: %q does not say that it is a %s", call, err, p.what)
				}
			}
			if len(names) != 0 || swept != nil {
				t.Errorf("Sweep: %v, %v", names, swept)
			}
			if now := stat(t, name); now.Ino != before.Ino {
				t.Error("something else is there now")
			}
		})
	}
}

func TestCase260SecondName(t *testing.T) {
	name, o := named(t, 4096, nil)
	other := newName(t)
	if err := os.Link("/dev/shm/"+name, "/dev/shm/"+other); err != nil {
		t.Fatal(err)
	}
	_, opened := shm.Open(name, nil)
	_, opened2 := shm.OpenReadOnly(other, nil)
	_, taken := shm.Create(other, 1, &shm.Attr{Truncate: true})
	for _, err := range []error{opened, opened2, taken} {
		if err := wants(err, shm.ErrOwner, fs.ErrPermission); err != nil {
			t.Error(err)
		}
	}
	o.Close()
	if names := sortedSweep(t, other); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	// The name itself is still the owner's to remove.
	if err := errors.Join(shm.Unlink(other), shm.Unlink(name)); err != nil {
		t.Error(err)
	}
}

// squat makes a world-writable object, as the user that it runs as.
var squat = proc.Register("shm-squat", func(_ context.Context, name string) error {
	unix.Umask(0)
	o, err := shm.Create(name, 4096, &shm.Attr{Mode: 0o666})
	if err != nil {
		return err
	}
	return o.Close()
})

func TestCase261Squatted(t *testing.T) {
	name := newName(t)
	inChild(t, squat, name, asNobody(t))
	for call, err := range map[string]error{
		"Open":         second(shm.Open(name, nil)),
		"OpenReadOnly": second(shm.OpenReadOnly(name, nil)),
		"one more":     second(shm.Open(name, &shm.Attr{Owners: []int{1, 2}})),
		"Truncate":     second(shm.Create(name, 1, &shm.Attr{Truncate: true})),
		"Unlink":       shm.Unlink(name),
	} {
		if err := wants(err, shm.ErrOwner, fs.ErrPermission); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	if names := sortedSweep(t, name); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	if st := stat(t, name); st.Size != 4096 || st.Uid != nobody {
		t.Errorf("%+v", st)
	}
	allowed := &shm.Attr{Owners: []int{nobody}}
	o, err := shm.Open(name, allowed)
	if err != nil {
		t.Fatalf("allowed: %v", err)
	}
	o.Close()
	// Allowed, but not to let in everybody.
	allowed.Mode = 0o600
	if err := wants(second(shm.Open(name, allowed)), shm.ErrOwner); err != nil {
		t.Error(err)
	}
}

// The name goes back and forth between two objects. What is opened is one of
// them, with its own size and bytes, never a mixture, and never what was planted
// between.
func TestCase262Swapped(t *testing.T) {
	name, a := named(t, 4096, nil)
	otherName, b := named(t, 8192, nil)
	mapAll(t, a, shm.ReadWrite).Bytes()[0] = 1
	mapAll(t, b, shm.ReadWrite).Bytes()[0] = 2
	link := newName(t)
	if err := os.Symlink(target(t), "/dev/shm/"+link); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		const dir = "/dev/shm/"
		for i := 0; !stop.Load(); i++ {
			with := []string{otherName, link}[i%2]
			unix.Renameat2(unix.AT_FDCWD, dir+name, unix.AT_FDCWD, dir+with, unix.RENAME_EXCHANGE)
		}
	}()
	var opened [3]int
	for range rounds(2000) {
		o, err := shm.Open(name, nil)
		if err != nil {
			if err := oneOf(err, unix.ELOOP, unix.EBUSY); err != nil {
				t.Fatal(err)
			}
			opened[0]++
			continue
		}
		m, err := o.Map(0, 0, shm.ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		which := int(m.Bytes()[0])
		if len(m.Bytes()) != 4096*which {
			t.Fatalf("%d bytes, and it is object %d", len(m.Bytes()), which)
		}
		opened[which]++
		m.Close()
		o.Close()
	}
	stop.Store(true)
	<-done
	t.Logf("%d refused, %d and %d opened", opened[0], opened[1], opened[2])
}

// rounds is how often a loop goes round: fewer times with -short, where the
// race detector makes each of them slow as well.
func rounds(n int) int {
	if testing.Short() || raceEnabled {
		return n / 10
	}
	return n
}

// Nothing in the environment decides where objects are: no file of the package
// but the tests can see it.
func TestCase272NoEnvironment(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "TempDir", "UserHomeDir", "UserCacheDir"} {
			if strings.Contains(string(src), word) {
				t.Errorf("%s uses %s", file, word)
			}
		}
	}
	elsewhere := t.TempDir()
	for _, key := range []string{"TMPDIR", "TMP", "TEMP", "HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(key, elsewhere)
	}
	name, _ := named(t, 1, nil)
	stat(t, name)
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
