package fuzz_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
)

// All that the packages are used for, again and again, leaves no descriptor,
// child, mapping, name or goroutine, and no thread for each time.
func TestLeakLoops(t *testing.T) {
	n := 100
	switch {
	case *long:
		n = 5000
	case testing.Short() || fuzz.RaceBuild:
		n = 20
	}
	if os.Getenv("RAWIPC_WITHOUT") != "" {
		t.Skip("not everything is to be had")
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		err := uses[name](ctx)
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) && os.Getenv("CI") != "true" {
			t.Logf("%s: %v", name, err)
			cancel()
			continue
		}
		n := n
		if _, dear := processUses[name]; dear {
			n /= 10
		}
		// What is started once for the process may come after the first use: a leak
		// comes with each.
		for try := 0; ; try++ {
			before := fuzz.Hold()
			for range n {
				if err := uses[name](ctx); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				total++
			}
			for _, l := range before.Leaks() {
				t.Errorf("%s: left behind after %d times: %s", name, n, l)
			}
			after := fuzz.Hold()
			// Both end a moment after the Close that ends them; threads the runtime keeps.
			for end := time.Now().Add(5 * time.Second); after.Goroutines > before.Goroutines && time.Now().Before(end); after = fuzz.Hold() {
				time.Sleep(10 * time.Millisecond)
			}
			if after.Goroutines <= before.Goroutines && after.Threads <= before.Threads+10 {
				break
			}
			if try == 2 {
				t.Errorf("%s: %d goroutines and %d threads after %d times, %d and %d before",
					name, after.Goroutines, after.Threads, n, before.Goroutines, before.Threads)
				break
			}
		}
		cancel()
	}
	t.Logf("%d loops", total)
}
