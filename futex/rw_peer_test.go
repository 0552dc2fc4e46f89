package futex_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
)

// Nobody else uses the lock. Ours and glibc's take turns, as the machine's speed
// changes from second to second, and each time one of the fastest of many short
// stretches counts. A ratio only fails the test where it is no noise.
func TestRWMutexBesideC(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies the time")
	}
	gcc := fuzz.Tool(t, "gcc")
	bin := filepath.Join(t.TempDir(), "peer_rw")
	if out, err := exec.Command(gcc, "-O2", "-pthread", "-Wall", "-Werror", "-o", bin, "testdata/peer_rw.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	m := newShared[futex.RWMutex](t).Ptr()
	fastest := func(section func()) float64 {
		const chunks, perChunk = 401, 1000
		took := make([]float64, chunks)
		for i := range took {
			start := time.Now()
			section()
			took[i] = float64(time.Since(start).Nanoseconds()) / perChunk
		}
		slices.Sort(took)
		return took[chunks/10]
	}
	read := func() {
		for range 1000 {
			if m.RLock() != nil || m.RUnlock() != nil {
				panic("a lock that nobody else knows")
			}
		}
	}
	write := func() {
		for range 1000 {
			if m.Lock() != nil || m.Unlock() != nil {
				panic("a lock that nobody else knows")
			}
		}
	}
	var ours, theirs [2][]float64
	for range 9 {
		out, err := exec.CommandContext(within(t), bin).Output()
		if err != nil {
			t.Fatal(err)
		}
		var c [2]float64
		if _, err := fmt.Sscan(string(out), &c[0], &c[1]); err != nil {
			t.Fatal(err)
		}
		for i, section := range []func(){read, write} {
			theirs[i] = append(theirs[i], c[i])
			ours[i] = append(ours[i], fastest(section))
		}
	}
	middle := func(x []float64) float64 { return slices.Sorted(slices.Values(x))[len(x)/2] }
	for i, row := range []struct {
		name     string
		goal     float64 // 0: none
		hopeless float64
	}{{"RLock+RUnlock", 1.0, 20}, {"Lock+Unlock", 0, 60}} {
		var ratios []float64
		for j := range ours[i] {
			ratios = append(ratios, ours[i][j]/theirs[i][j])
		}
		ratio, met := middle(ratios), ""
		if row.goal != 0 {
			met = fmt.Sprintf(", goal %.1f: met", row.goal)
			if ratio > row.goal {
				met = fmt.Sprintf(", goal %.1f: NOT MET", row.goal)
			}
		}
		t.Logf("%-13s %5.1f ns, C's %5.1f ns: ratio %.2f (%.2f to %.2f)%s", row.name,
			middle(ours[i]), middle(theirs[i]), ratio, slices.Min(ratios), slices.Max(ratios), met)
		if best := slices.Min(ratios); best > row.hopeless {
			t.Errorf("%s takes %.1f times what C's does, at best", row.name, best)
		}
	}
}
