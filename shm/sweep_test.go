package shm_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

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
