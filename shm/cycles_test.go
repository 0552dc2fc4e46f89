package shm_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"
)

// Many cycles leave nothing: no descriptor, mapping or name, and no memory.
func TestCase040Cycles(t *testing.T) {
	name := newName(t)
	cycle := func() {
		o, err := shm.Create(name, 8192, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := o.Map(0, 0, shm.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		m.Bytes()[8191] = 1
		if err := errors.Join(m.Close(), o.Close(), shm.Unlink(name)); err != nil {
			t.Fatal(err)
		}
	}
	// Every tenth has locks that are linked, used and unlinked.
	locks := func() {
		s, err := shm.New[struct {
			M futex.RobustMutex
			R futex.RWMutex
			S futex.Semaphore
		}](nil)
		if err != nil {
			t.Fatal(err)
		}
		l := s.Ptr()
		err = errors.Join(l.M.Lock(), l.M.Unlock(), l.R.RLock(), l.R.RUnlock(), l.R.Lock(), l.R.Unlock(),
			l.S.Release(), l.S.Acquire(t.Context()), s.Close())
		if err != nil {
			t.Fatal(err)
		}
	}
	cycles := func(n int) {
		for i := range n {
			if cycle(); i%10 == 0 {
				locks()
			}
		}
	}
	cycles(1000)
	held := fuzz.Hold()
	fds, _ := filepath.Glob("/proc/self/fd/*")
	before := resident(t)
	n := 10_000
	if testing.Short() {
		n = 2000
	}
	cycles(n)
	if left := held.Leaks(); left != nil {
		t.Errorf("left behind: %v", left)
	}
	if now, _ := filepath.Glob("/proc/self/fd/*"); len(now) > len(fds) {
		t.Errorf("%d descriptors, before %d", len(now), len(fds))
	}
	// Four mebibytes are the collector's play; what leaked each time would be 80.
	if grown := resident(t) - before; grown > 4<<20 && !raceEnabled {
		t.Errorf("%d bytes more are resident after %d cycles", grown, n)
	}
}

func resident(t testing.TB) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
