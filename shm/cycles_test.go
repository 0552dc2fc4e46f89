package shm_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

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
	for range 1000 {
		cycle()
	}
	held := fuzz.Hold()
	fds, _ := filepath.Glob("/proc/self/fd/*")
	before := resident(t)
	n := 10_000
	if testing.Short() {
		n = 2000
	}
	for range n {
		cycle()
	}
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
