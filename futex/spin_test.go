package futex_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
)

func TestSpinner(t *testing.T) {
	never := func() bool { return false }
	polls := 0
	counted := func() bool { polls++; return false }

	var s futex.Spinner
	if !s.Wait(false, func() bool { return true }) {
		t.Error("what is ready needs no spinning")
	}
	if s.Wait(false, counted); polls > 2 { // one before a yield, one after it
		t.Errorf("%d polls for a partner on the same CPU", polls)
	}
	s.SetBudget(2 * time.Millisecond)
	start := time.Now()
	if s.Wait(false, never) || time.Since(start) < 2*time.Millisecond {
		t.Errorf("a fixed budget of 2ms ended after %v", time.Since(start))
	}
	s.SetBudget(-1)
	polls = 0
	if s.Wait(true, counted); polls > 1 {
		t.Errorf("%d polls with spinning switched off", polls)
	}

	if !futex.ManyCPUs() {
		t.Skip("one CPU: the policy never spins")
	}
	// Looking in vain teaches to skip; a short sleep or a hit forgets that.
	s = futex.Spinner{}
	const glance = 30 // who skips looks a few times, for a microsecond
	spun := func() bool { polls = 0; s.Wait(true, counted); return polls > glance }
	var pattern []int
	for skipped := 0; len(pattern) < 10; {
		if spun() {
			pattern = append(pattern, skipped)
			skipped = 0
		} else {
			skipped++
		}
	}
	if want := []int{0, 2, 4, 8, 16, 32, 64, 128, 256, 256}; !slices.Equal(pattern, want) {
		t.Fatalf("skipped %v, want %v", pattern, want)
	}
	s.Slept(time.Microsecond)
	if !spun() {
		t.Error("after a short sleep it still skips")
	}
}

// Yields that don't pay become rare, be it that the partner is not there or that
// somebody else keeps the CPU; one that pays undoes half of that. One that took
// long is paid off by waits without.
func TestSpinnerYieldsLearn(t *testing.T) {
	budget, skips, _ := futex.SpinPolicy()
	for _, row := range []struct {
		name  string
		long  time.Duration
		there bool
	}{{"nobody", time.Hour, false}, {"long", time.Nanosecond, true}} {
		t.Run(row.name, func(t *testing.T) {
			defer futex.SetSpinPolicy(budget, skips, row.long)()
			var s futex.Spinner
			polls, took := 0, time.Duration(0)
			yielded := func(there bool) bool {
				polls = 0
				start := time.Now()
				defer func() { took = time.Since(start) }()
				if met := s.Wait(false, func() bool { polls++; return there && polls > 1 }); met != (there && polls > 1) {
					t.Fatalf("Wait: %t after %d polls", met, polls)
				}
				return polls > 1
			}
			next := func(there bool) (skipped int) {
				for skipped < 10_000 && !yielded(there) {
					skipped++
				}
				return skipped
			}
			for _, want := range []int{0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096} {
				most := max(want, min(int(took/futex.ASleep), 4096))
				if n := next(row.there); n < want || n > most {
					t.Fatalf("skipped %d, want %d to %d", n, want, most)
				}
			}
			futex.SetSpinPolicy(budget, skips, time.Hour)
			next(true) // it pays
			if n := next(true); n != 0 {
				t.Errorf("skipped %d after a yield that paid", n)
			}
			next(false)
			if most := max(64, int(took/futex.ASleep)); next(false) > most {
				t.Error("it does not forget")
			}
			s, slow := futex.Spinner{}, 3*time.Millisecond
			s.Wait(false, func() bool { time.Sleep(slow); return false })
			if n, want := next(true), int(slow/futex.ASleep); n < want {
				t.Errorf("skipped %d after a yield of %v, want %d at least", n, slow, want)
			}
		})
	}
}

// Two processes on one CPU hand it to each other, and hardly ever sleep.
func TestSpinnerYieldsToPartner(t *testing.T) {
	var all []float64
	for start := time.Now(); time.Since(start) < hang; {
		met := yieldsMet(t)
		if all = append(all, met); met > 0.1 {
			t.Logf("%.0f%% of the waits were over after a yield", 100*met)
			return
		}
	}
	// Who gives the CPU away beside busy strangers gives it to one of them.
	var load float64
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Sscan(string(b), &load)
	}
	// Without a yield none is met at all: beside one stranger some are.
	if best := slices.Max(all); best >= 0.01 || load > float64(runtime.NumCPU()) {
		t.Skipf("the machine is too busy: a load of %.1f, and %.2f of the waits were over after a yield", load, all)
	}
	t.Errorf("of the waits were over after a yield: %.2f, want 0.1 once", all)
}

func TestSpinnerGlance(t *testing.T) {
	var word atomic.Uint64
	word.Store(7)
	var s futex.Spinner
	if v := s.Glance(false, &word, 6, 1, &word); v != 7 {
		t.Errorf("saw %d, want 7", v)
	}
	if v := s.Glance(true, &word, 7, 1, &word); v != 7 {
		t.Errorf("saw %d, want 7", v)
	}
	if !futex.ManyCPUs() {
		t.Skip("one CPU: nothing changes under a glance")
	}
	// Another changes the word while this one looks, at times.
	stop := make(chan struct{})
	go func() {
		for i := uint64(8); ; i++ {
			select {
			case <-stop:
				return
			default:
				word.Store(i)
			}
		}
	}()
	defer close(stop)
	// That one needs a CPU for it, which a busy machine gives it when it likes.
	for start := time.Now(); time.Since(start) < hang; {
		if old := word.Load(); s.Glance(true, &word, old, 1, &word) != old {
			return
		}
	}
	t.Error("no glance saw a change")
}

// While the partner is busy a glance begins with a rest, which grows and goes away
// by what it finds.
func TestSpinnerRests(t *testing.T) {
	const one, many = 5, 6
	var s futex.Spinner
	var word atomic.Uint64
	glance := func(apart bool, n uint64) {
		old := word.Load()
		word.Add(n)
		if v := s.Glance(apart, &word, old, one, &word); v != old+n {
			t.Fatalf("saw %d, want %d", v, old+n)
		}
	}
	rests := func(when string, want uint32) {
		t.Helper()
		if got := futex.Rests(&s); got != want {
			t.Errorf("%s it rests for %d pauses, want %d", when, got, want)
		}
	}
	for range 10 {
		glance(true, many)
	}
	rests("after what came before the look", 0)
	futex.SetRests(&s, futex.MinRests)
	for want := uint32(2 * futex.MinRests); want <= futex.MaxRests; want *= 2 {
		glance(true, many)
		rests("after many", want)
	}
	glance(true, many)
	rests("after many more", futex.MaxRests)
	glance(false, one)
	rests("where both share a CPU", futex.MaxRests)
	for want := uint32(futex.MaxRests / 2); want > 0; want /= 2 {
		glance(true, one)
		rests("after one", want)
	}
	glance(true, one)
	rests("after one more", 0)

	futex.SetRests(&s, futex.MaxRests)
	if v := s.Glance(true, &word, word.Load(), one, &word); v != word.Load() {
		t.Fatalf("saw %d, want %d", v, word.Load())
	}
	rests("after nothing", futex.MaxRests/2)
}

// The first rest comes when messages follow one another at once, and none does
// where each is answered before the next.
func TestSpinnerFirstRest(t *testing.T) {
	if !futex.ManyCPUs() || runtime.GOMAXPROCS(0) == 1 {
		t.Skip("one CPU: nothing changes under a glance")
	}
	var there, back atomic.Uint64
	const trips = 20000
	go func() {
		for i := range uint64(trips) {
			for there.Load() == i {
				runtime.Gosched()
			}
			back.Add(1)
		}
	}()
	var s futex.Spinner
	rested := 0
	for i := range uint64(trips) {
		there.Add(1)
		for s.Glance(true, &back, i, 1, &back) == i {
			runtime.Gosched()
		}
		if futex.Rests(&s) > 0 {
			rested++
		}
	}
	t.Logf("%d of %d trips left a rest", rested, trips)
	if rested > trips/2 && !raceEnabled { // whose looks take as long as a trip
		t.Errorf("%d of %d trips left a rest", rested, trips)
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 100 {
				back.Add(1)
			}
		}
	}()
	for start := time.Now(); time.Since(start) < hang; {
		if s.Glance(true, &back, back.Load(), 1, &back); futex.Rests(&s) > 0 {
			return
		}
	}
	t.Error("a busy partner leaves no rest")
}
