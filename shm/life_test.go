package shm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// empty expects none of its parent's objects: not among its descriptors, its
// mappings, its arguments or its environment, nor through the parent's map_files.
var empty = proc.Register("shm-empty", func(_ context.Context, words string) error {
	name, parent, _ := strings.Cut(words, " ")
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return err
	}
	var errs []error
	for _, fd := range fds {
		if link, _ := os.Readlink(fd); strings.Contains(link, name) || strings.Contains(link, "memfd:shm-secret") {
			errs = append(errs, errorf("%s is %s", fd, link))
		}
	}
	for _, file := range []string{"maps", "cmdline", "environ"} {
		text, err := os.ReadFile("/proc/self/" + file)
		if err != nil || strings.Contains(string(text), name) || strings.Contains(string(text), "shm-secret") {
			errs = append(errs, errorf("%s: %v, or has it", file, err))
		}
	}
	if os.Geteuid() == nobody {
		for _, dir := range []string{"map_files", "fd"} {
			if entries, err := os.ReadDir("/proc/" + parent + "/" + dir); !errors.Is(err, os.ErrPermission) {
				errs = append(errs, errorf("another user's %s: %v, %v", dir, entries, err))
			}
		}
	}
	return errors.Join(errs...)
})

func TestCase270NothingInChildren(t *testing.T) {
	name, o := named(t, 4096, nil)
	secret, err := shm.CreateAnon("shm-secret", 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	mapAll(t, o, shm.ReadWrite)
	mapAll(t, secret, shm.ReadWrite)
	arg := fmt.Sprint(name, " ", os.Getpid())
	// The name reaches the child as an argument: that is our doing, by a pipe.
	inChild(t, empty, arg, nil)
	t.Run("as nobody", func(t *testing.T) { inChild(t, empty, arg, asNobody(t)) })
}

func TestCase016NotInExec(t *testing.T) {
	name, o := named(t, 4096, nil)
	ro, err := shm.OpenReadOnly(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	mapAll(t, o, shm.ReadWrite)
	// A foreign program, started with nothing closed by us.
	out, err := exec.Command("/bin/sh", "-c", "ls -l /proc/self/fd").Output()
	if err != nil || len(out) == 0 {
		t.Skipf("ls: %v", err)
	}
	if strings.Contains(string(out), name) {
		t.Errorf("the descriptor is there:\n%s", out)
	}
}

func TestCase017NamedMappingOutlives(t *testing.T) {
	name, o := named(t, 4096, nil)
	m := mapAll(t, o, shm.ReadWrite)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	m.Bytes()[4095] = 7
	for call, err := range map[string]error{
		"Close": o.Close(), "Map": second(o.Map(0, 0, shm.ReadOnly)), "Grow": o.Grow(8192),
	} {
		if err := wants(err, os.ErrClosed); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	// Whoever has it mapped uses it: the lock goes with the last mapping.
	if names := sortedSweep(t, name); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if names := sortedSweep(t, name); !slices.Equal(names, []string{name}) {
		t.Errorf("swept %v", names)
	}
}

var edit = proc.Register("shm-edit", func(_ context.Context, name string) error {
	o, err := shm.Open(name, nil)
	if err != nil {
		return err
	}
	defer o.Close()
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	defer m.Close()
	if got := string(m.Bytes()[:5]); got != "hello" {
		return errorf("%q", got)
	}
	_, err = m.WriteAt([]byte("HELLO"), 0)
	return err
})

func TestCase026AcrossProcesses(t *testing.T) {
	name, o := named(t, 4096, nil)
	m := mapAll(t, o, shm.ReadWrite)
	copy(m.Bytes(), "hello")
	inChild(t, edit, name, nil)
	if got := string(m.Bytes()[:5]); got != "HELLO" {
		t.Errorf("%q", got)
	}
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
}

// use opens or creates an object, says so on standard output, and waits to be
// killed. "map NAME" keeps only the mapping.
var use = proc.Register("shm-use", func(ctx context.Context, words string) error {
	how, name, _ := strings.Cut(words, " ")
	var o *shm.Object
	var err error
	if how == "create" {
		o, err = shm.Create(name, 4096, nil)
	} else {
		o, err = shm.Open(name, nil)
	}
	if err != nil {
		return err
	}
	if how == "map" {
		m, err := o.Map(0, 0, shm.ReadOnly)
		if err != nil {
			return err
		}
		o.Close()
		defer m.Close()
	}
	fmt.Println("ready")
	<-ctx.Done()
	return o.Close()
})

// users starts one more user.
func startUser(t *testing.T, words string) *proc.Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := use.StartCmd(t.Context(), &proc.Cmd{Stdout: w}, words)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	r.SetReadDeadline(time.Now().Add(hang))
	if n, err := r.Read(make([]byte, 16)); n == 0 {
		_, ended := p.Wait(t.Context())
		t.Fatalf("%s: %v, %v", words, err, ended)
	}
	return p
}

func kill(t *testing.T, p *proc.Process) {
	t.Helper()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait(t.Context())
}

// An object is swept when the last of its users is dead, be that who created
// it, who opened it or who only has it mapped, and not before.
func TestCase030UsersKilled(t *testing.T) {
	name := newName(t)
	var users []*proc.Process
	for _, how := range []string{"create ", "open ", "map "} {
		users = append(users, startUser(t, how+name))
	}
	for _, p := range users {
		if names := sortedSweep(t, name); len(names) != 0 {
			t.Errorf("swept %v while %d is using it", names, p.Pid())
		}
		kill(t, p)
	}
	if names := sortedSweep(t, "/"+name); !slices.Equal(names, []string{name}) {
		t.Errorf("swept %v", names)
	}
	gone(t, name)
}

// Only what this package made, for this user, under that prefix, is swept.
func TestSweepSpares(t *testing.T) {
	prefix := newName(t) + "."
	path := "/dev/shm/" + prefix
	stale, used := prefix+"stale", prefix+"used"
	for _, name := range []string{stale, used} {
		o, err := shm.Create(name, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove("/dev/shm/" + name)
		if name == used {
			defer o.Close()
		} else {
			o.Close()
		}
	}
	plantAll := []func() error{
		func() error { return os.WriteFile(path+"of-c", []byte("x"), 0o600) },
		func() error { return os.Mkdir(path+"dir", 0o700) },
		func() error { return unix.Mkfifo(path+"fifo", 0o600) },
		func() error { return os.Symlink("/dev/shm/"+stale, path+"link") },
	}
	for _, plant := range plantAll {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		left, _ := filepath.Glob(path + "*")
		for _, l := range left {
			os.Remove(l)
		}
	})
	if names := sortedSweep(t, prefix); !slices.Equal(names, []string{stale}) {
		t.Errorf("swept %v", names)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 5 {
		t.Errorf("left: %v", left)
	}
	for _, p := range []string{"", "/", "a/b", "a\x00"} {
		if _, err := shm.Sweep(p); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Sweep(%q): %v", p, err)
		}
	}
}

// Openers, creators and sweepers of one name, all at once: an object that
// somebody got is never swept, so it always has its name until its user lets
// go; and what is opened is whole.
func TestSweepBesideOpen(t *testing.T) {
	name := newName(t)
	path := "/dev/shm/" + name
	var all sync.WaitGroup
	failed := make(chan error, 10)
	fail := func(format string, a ...any) {
		select {
		case failed <- errorf(format, a...):
		default:
		}
	}
	stop := make(chan struct{})
	var sweeps, creations, opens int
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			names, err := shm.Sweep(name)
			if err != nil {
				fail("sweep: %v", err)
			}
			sweeps += len(names)
		}
	})
	user := func(o *shm.Object, err, allowed error, n *int) {
		if errors.Is(err, allowed) {
			return
		}
		if err != nil {
			fail("%v", err)
			return
		}
		*n++
		held, err := o.File().Stat()
		now, err2 := os.Lstat(path)
		if err != nil || err2 != nil || !os.SameFile(held, now) || now.Size() != 4096 {
			fail("in use, but its name leads to %v (%v, %v)", now, err, err2)
		}
		o.Close()
	}
	created := make(chan struct{})
	all.Go(func() {
		defer close(created)
		for end := time.Now().Add(hang); creations < rounds(300) && time.Now().Before(end); {
			o, err := shm.Create(name, 4096, nil)
			user(o, err, os.ErrExist, &creations)
		}
	})
	for done := false; !done; {
		select {
		case <-created:
			done = true
		default:
			o, err := shm.Open(name, nil)
			user(o, err, os.ErrNotExist, &opens)
		}
	}
	close(stop)
	all.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	t.Logf("%d created, %d opened, %d swept", creations, opens, sweeps)
	os.Remove(path)
}

// A Sweep that found a dead process's object does not remove the next one of its
// name, which somebody made between.
func TestSweepBesideUnlink(t *testing.T) {
	name := newName(t)
	stop, done := make(chan struct{}), make(chan struct{})
	swept := 0
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			names, err := shm.Sweep(name)
			if err != nil {
				t.Errorf("sweep: %v", err)
			}
			swept += len(names)
		}
	}()
	defer func() {
		close(stop)
		<-done
		t.Logf("%d swept", swept)
	}()
	for range rounds(3000) {
		stale, err := shm.Create(name, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		stale.Close()
		if err := shm.Unlink(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		next, err := shm.Create(name, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := os.Lstat("/dev/shm/" + name); err != nil {
				t.Fatalf("in use: %v", err)
			}
		}
		next.Close()
		if err := shm.Unlink(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}
