package futex

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// This file is the whole policy of waiting without sleeping.
//
// To wake a sleeper on another CPU costs 35–50 µs on a virtual machine, and more
// on a busy one; on the same CPU 5 µs. So it pays to look for about that long
// before sleeping, if the partner can run meanwhile. Three things make it not
// pay: one CPU only (the partner waits for us: see yield), be it that both are
// bound to it or that the scheduler has put them there; more spinners than CPUs (they take
// the CPUs from those that work); and a partner that stays away for long.

// pollsPerLook is how often a spinner looks between two readings of the clock; a
// poll is one PAUSE, 20–60 ns.
const pollsPerLook = 64

// Who goes straight to sleep still looks pollsAnyway times, about a microsecond,
// before each such sleep whose number glanceEach divides: so a bad time is over
// soon after the partner is back.
const (
	pollsAnyway = 24
	glanceEach  = 4
)

// A rest of a Glance, in pauses.
const (
	minRests = 4
	maxRests = 16
)

// noSleep is less than a sleep takes, even if its wake comes at once.
const noSleep = 3 * time.Microsecond

// spinPolicy are the constants that BenchmarkSpinConstants chose. They are
// variables for its sake: nothing else changes them.
var spinPolicy = struct {
	// budget is about what it takes a sleeper on another CPU to wake and to
	// answer. A negative one never spins.
	budget time.Duration
	// maxSkips bounds how many waits in a row go straight to sleep.
	maxSkips uint32
}{100 * time.Microsecond, 256}

// spinners counts those of this process that spin now.
var spinners atomic.Int32

// A Spinner decides for one waiter of one place how long to look before it
// sleeps, and learns: after looks that were in vain it goes to sleep at once,
// or nearly so, for a number of waits that doubles with each, and looks that
// were not bring it back. Before it sleeps it gives the CPU to others that want
// it, and learns likewise if that helps. The zero value spins by this policy. A
// Spinner serves one goroutine at a time and may be private or shared memory.
//
// It is for authors of other primitives, such as package shm's queues: the types
// of this package spin by themselves.
type Spinner struct {
	budget int32 // in µs; 0: the policy's own, < 0: never
	misses uint32
	skips  uint32
	rests  uint32
	yields yielder
}

// SetBudget fixes how long each wait looks before it sleeps: never if d is
// negative, by the package's own policy if it is 0, else for d, whatever was
// learned and however few CPUs there are.
func (s *Spinner) SetBudget(d time.Duration) {
	switch {
	case d < 0:
		s.budget = -1
	case d == 0:
		s.budget = 0
	default:
		s.budget = int32(min(max(d.Microseconds(), 1), maxInt32))
	}
}

// Wait calls ready until it is true or the time for spinning is over, and says
// which. When it says false the caller sleeps, and calls [Spinner.Slept] with
// how long that took.
//
// apart says that the partner does not share this waiter's only CPU: true
// where nothing better is known and more than one CPU is there.
func (s *Spinner) Wait(apart bool, ready func() bool) bool {
	return ready() || s.spin(apart, ready) || s.budget == 0 && spinPolicy.budget >= 0 && s.yields.yield(ready)
}

func (s *Spinner) spin(apart bool, ready func() bool) bool {
	budget := spinPolicy.budget
	switch {
	case s.budget < 0 || s.budget == 0 && budget < 0:
		return false
	case s.budget > 0:
		budget = time.Duration(s.budget) * time.Microsecond
	case !apart:
		return false
	}
	// The first looks come before everything that costs: a partner who answers
	// at once is met here, and undoes what a bad time has taught.
	looks, skip := pollsPerLook, s.skips > 0 && s.budget == 0
	if skip {
		s.skips--
		if s.skips%glanceEach != 0 {
			return false
		}
		looks = pollsAnyway
	}
	for range looks {
		pause(1)
		if ready() {
			s.hit()
			return true
		}
	}
	if skip {
		return false
	}
	if s.budget == 0 {
		if spinners.Add(1) > int32(runtime.NumCPU()) {
			spinners.Add(-1)
			return false
		}
		defer spinners.Add(-1)
	}
	for start := time.Now(); time.Since(start) < budget; {
		for range pollsPerLook {
			if ready() {
				s.hit()
				return true
			}
			pause(1)
		}
	}
	s.misses = min(s.misses+1, 16)
	s.skips = min(uint32(1)<<s.misses, spinPolicy.maxSkips)
	return false
}

// hit notes a look that was not in vain. It takes back one miss, not all: two
// processes that share a CPU most of the time are apart at times.
func (s *Spinner) hit() {
	s.skips = 0
	if s.misses > 0 {
		s.misses--
	}
}

// Glance is the beginning of Wait for one word that counts up: it looks whether
// that is other than old, and, where spinning may help, a few times more. It
// returns the last that it saw. It saves a fast partner what Wait costs; when it
// was in vain, Wait follows.
//
// one is by how much a single message changes word. next is the last word of what
// the caller reads when word has changed; it is asked for meanwhile. It is for
// authors of other primitives, as the Spinner is.
func (s *Spinner) Glance(apart bool, word *atomic.Uint64, old, one uint64, next *atomic.Uint64) uint64 {
	// Each look asks for next's cache line, and for the one before, so that they come
	// together with that of word: to ask for them only then makes a message wait for
	// one after the other. By prefetch: a load that has to wait keeps the next look
	// back (between CPUs far apart, a trip of 64 bytes then takes 1.15 times as long).
	//
	// A look takes the line that word lies in away from the partner, who has to wait
	// for it with the next message. So while he sends one after the other the looks
	// begin with a rest, which becomes longer as long as there is more than one
	// message after it: a third of a microsecond at most. Who waits for an answer to
	// each message never rests: the first rest comes when an answer was there sooner
	// than any can be.
	if !apart || s.budget < 0 || s.skips > 0 {
		return word.Load()
	}
	if s.rests > 0 {
		pause(s.rests)
	}
	v := word.Load()
	for i := 0; v == old && i < pollsPerLook; i++ {
		pauseAsking(next)
		if v = word.Load(); v != old {
			s.hit()
			if i == 0 && s.rests == 0 {
				s.rests = minRests
				return v
			}
		}
	}
	if v-old > one {
		s.rests = min(2*s.rests, maxRests)
	} else {
		s.rests /= 2
	}
	return v
}

// Slept tells the Spinner how long the sleep after a false Wait took. One that
// was over before it began undoes what misses have taught. A short one does not:
// on one CPU, where the scheduler may put two processes that are free to run
// anywhere, a partner is fast just because nobody spins.
func (s *Spinner) Slept(d time.Duration) {
	if d < noSleep {
		s.misses, s.skips = 0, 0
	}
}

// ManyCPUs reports whether this process may run on more than one CPU. Like
// [PinnedCPU] it is for authors of other primitives, who decide by it how to wait.
func ManyCPUs() bool { return runtime.NumCPU() > 1 }

// Unpinned is what [PinnedCPU] returns for a process that may run on several
// CPUs. It is for authors of other primitives.
const Unpinned = 1

// PinnedCPU tells where this process runs, so that a partner can see whether
// spinning makes sense: 2 + the number of the only CPU it may use, as it was
// when the process started, or Unpinned. It is for authors of other primitives,
// whose parties leave it in the memory that they share.
func PinnedCPU() uint32 { return pinnedCPU() }

var pinnedCPU = sync.OnceValue(func() uint32 {
	var set unix.CPUSet
	if runtime.NumCPU() > 1 || unix.SchedGetaffinity(0, &set) != nil {
		return Unpinned
	}
	for i := range len(set) * bits.UintSize {
		if set.IsSet(i) {
			return uint32(i) + 2
		}
	}
	return Unpinned
})
