package shm_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

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
				lacks(t, "can't make a %s: %v", p.what, err)
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
