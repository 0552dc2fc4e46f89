package futex_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"structs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

var kills = flag.Int("kills", 400, "`number` of random kills in the soak")

// soak is what the workers share. A and B are changed one after the other under
// the lock, and equal whenever it is free. The rest says what goes on.
type soak struct {
	_          structs.HostLayout
	Mu         futex.RobustMutex
	A, B       int64
	Sections   atomic.Int64
	Recoveries atomic.Int64
	Torn       atomic.Int64 // A and B differed without a death
	Last       atomic.Int64 // time of the last section, CLOCK_MONOTONIC
	Gap        atomic.Int64 // the longest between two
	Stop       atomic.Bool
}

func monotonicNow() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// section is one critical section, with the repair after a death.
func (g *soak) section() error {
	err := g.Mu.Lock()
	if errors.Is(err, futex.ErrOwnerDead) {
		g.Recoveries.Add(1)
		g.B = g.A
		err = g.Mu.MarkConsistent()
	} else if err == nil && g.A != g.B {
		g.Torn.Add(1)
	}
	if err != nil {
		return err
	}
	now := monotonicNow()
	if last := g.Last.Swap(now); last != 0 && now-last > g.Gap.Load() {
		g.Gap.Store(now - last)
	}
	g.A++
	g.B++
	g.Sections.Add(1)
	return g.Mu.Unlock()
}

var soaker = proc.Register("soaker", func(ctx context.Context, s *shm.Shared[soak]) error {
	errs := make(chan error, 2)
	for range cap(errs) {
		go func() {
			for !s.Ptr().Stop.Load() {
				if err := s.Ptr().section(); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	return errors.Join(<-errs, <-errs)
})

// TestCase090_RandomKills: four processes use a lock while a random one is
// killed again and again, and another takes its place.
func TestCase090_RandomKills(t *testing.T) {
	s := newShared[soak](t)
	g := s.Ptr()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	rounds := *kills
	if testing.Short() {
		rounds = min(rounds, 200)
	}
	var mu sync.Mutex
	var workers [4]*proc.Process
	start := func(i int) {
		p, err := soaker.Start(bg, s)
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		workers[i] = p
		mu.Unlock()
	}
	for i := range workers {
		start(i)
	}
	began := time.Now()
	for k := 0; k < rounds && !t.Failed(); k++ {
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(time.Millisecond)))
		i := rng.IntN(len(workers))
		p := workers[i]
		if err := p.Kill(); err != nil {
			_, err := p.Wait(bg)
			t.Fatalf("seed %d, kill %d: a worker had ended: %v", seed, k, err)
		}
		start(i)
		p.Wait(bg)
	}
	g.Stop.Store(true)
	for _, p := range workers {
		if _, err := p.Wait(within(t)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
			p.Kill()
		}
	}
	if err := g.section(); err != nil {
		t.Errorf("seed %d: at the end: %v", seed, err)
	}
	if g.A != g.B || g.Torn.Load() != 0 {
		t.Errorf("seed %d: counters %d and %d, %d times torn without a death", seed, g.A, g.B, g.Torn.Load())
	}
	gap := time.Duration(g.Gap.Load())
	if gap > hang {
		t.Errorf("seed %d: a stall of %v", seed, gap)
	}
	t.Logf("%d kills in %v, %d sections, %d recoveries, worst gap %v",
		rounds, time.Since(began).Round(time.Millisecond), g.Sections.Load(), g.Recoveries.Load(), gap)
}

// ownedSoak: tokens that processes own, and an event that one of them sets.
type ownedSoak struct {
	_    structs.HostLayout
	Sem  futex.Semaphore
	Stop futex.Event
}

var owner = proc.Register("owner", func(ctx context.Context, s *shm.Shared[ownedSoak]) error {
	g := s.Ptr()
	for !g.Stop.IsSet() {
		if err := g.Sem.AcquireOwned(ctx); err != nil {
			return err
		}
		if err := g.Sem.ReleaseOwned(); err != nil {
			return err
		}
	}
	return g.Stop.Wait(ctx)
})

// Owned tokens are conserved, however many of their owners are killed.
func TestOwnedTokensSoak(t *testing.T) {
	s := newShared[ownedSoak](t)
	g := s.Ptr()
	const tokens = 2
	if err := g.Sem.Init(tokens, tokens); err != nil {
		t.Fatal(err)
	}
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	var workers [3]*proc.Process
	for i := range workers {
		workers[i] = must(t, s)
	}
	for k := range rounds {
		time.Sleep(time.Duration(rand.ExpFloat64() * float64(time.Millisecond)))
		p := workers[k%len(workers)]
		p.Kill()
		workers[k%len(workers)] = must(t, s)
		p.Wait(bg)
	}
	g.Stop.Set()
	for _, p := range workers {
		if _, err := p.Wait(within(t)); err != nil {
			t.Error(err)
			p.Kill()
		}
	}
	for range tokens {
		if err := g.Sem.AcquireOwned(within(t)); err != nil {
			t.Errorf("a token is lost: %v", err)
		}
	}
	if g.Sem.TryAcquire() {
		t.Error("a token too many")
	}
}

func must(t *testing.T, s *shm.Shared[ownedSoak]) *proc.Process {
	t.Helper()
	p, err := owner.Start(bg, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// area is memory that a lock guards, large enough for a long read(2).
type area struct {
	_     structs.HostLayout
	Mu    futex.RobustMutex
	Ready atomic.Uint32
	_     [4096 - 20]byte
	Data  [16 << 20]byte
}

// readIntoArea holds the lock while another thread is inside read(2) calls into
// what the lock guards, each byte of them different from the last.
var readIntoArea = proc.Register("readIntoArea", func(ctx context.Context, s *shm.Shared[area]) error {
	a := s.Ptr()
	if err := a.Mu.Lock(); err != nil && !errors.Is(err, futex.ErrOwnerDead) {
		return err
	}
	fd, err := unix.MemfdCreate("pattern", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	pattern := make([]byte, len(a.Data))
	for i := byte(1); ; i++ {
		for j := 0; j < len(pattern); j += 512 {
			pattern[j] = i
		}
		if _, err := unix.Pwrite(fd, pattern, 0); err != nil {
			return err
		}
		a.Ready.Store(1)
		if _, err := unix.Pread(fd, a.Data[:], 0); err != nil {
			return err
		}
	}
})

// After ErrOwnerDead no write of the dead process is ever seen, though one of
// its threads was in the middle of a system call that writes.
func TestNoWriteAfterOwnerDead(t *testing.T) {
	s := newShared[area](t)
	a := s.Ptr()
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	look := func() (sum []byte) {
		for i := 0; i < len(a.Data); i += 512 {
			sum = append(sum, a.Data[i])
		}
		return sum
	}
	for range rounds {
		a.Ready.Store(0)
		p, err := readIntoArea.Start(bg, s)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "reading", func() bool { return a.Ready.Load() == 1 })
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		locked := make(chan error, 1)
		go func() { locked <- a.Mu.LockContext(within(t)) }()
		time.Sleep(time.Millisecond)
		p.Kill()
		if err := <-locked; !errors.Is(err, futex.ErrOwnerDead) {
			t.Fatalf("%v", err)
		}
		for first, end := look(), time.Now().Add(30*time.Millisecond); time.Now().Before(end); {
			if !slices.Equal(first, look()) {
				t.Fatal("the dead wrote on")
			}
		}
		p.Wait(bg)
		if err := errors.Join(a.Mu.MarkConsistent(), a.Mu.Unlock()); err != nil {
			t.Fatal(err)
		}
	}
}

var holdUntilKilled = proc.Register("holdUntilKilled", func(ctx context.Context, s *shm.Shared[guarded]) error {
	if err := s.Ptr().Mu.LockContext(ctx); err != nil {
		return err
	}
	atomic.StoreInt64(&s.Ptr().A, 1)
	<-ctx.Done()
	return fmt.Errorf("process %d was not killed", os.Getpid())
})

// From the SIGKILL of a lock's holder until a sleeper has the lock, with
// ErrOwnerDead.
func BenchmarkOwnerDeath(b *testing.B) {
	s := newShared[guarded](b)
	g := s.Ptr()
	var took []time.Duration
	for range b.N {
		atomic.StoreInt64(&g.A, 0)
		p, err := holdUntilKilled.Start(bg, s)
		if err != nil {
			b.Fatal(err)
		}
		until(b, "held", func() bool { return atomic.LoadInt64(&g.A) == 1 })
		got := make(chan time.Time, 1)
		go func() {
			if err := g.Mu.Lock(); !errors.Is(err, futex.ErrOwnerDead) {
				b.Errorf("%v", err)
			}
			got <- time.Now()
		}()
		until(b, "asleep", func() bool { return inside("futex.(*RobustMutex).lockPinned") == 1 })
		start := time.Now()
		p.Kill()
		took = append(took, (<-got).Sub(start))
		p.Wait(bg)
		if err := errors.Join(g.Mu.MarkConsistent(), g.Mu.Unlock()); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
	b.ReportMetric(float64(took[len(took)-1]), "max-ns")
}
