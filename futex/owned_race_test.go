package futex

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests lay out by hand what a process killed at one instruction, or one
// that is not quite gone, leaves behind.

const tooLong = 5 * time.Second

// everyoneLives is a judge before whom nobody is ever quite dead.
type everyoneLives struct{ judge }

func (everyoneLives) dead(uint32) bool { return false }

func attachedPage(t *testing.T) ([]byte, *Region) {
	t.Helper()
	fd, err := unix.MemfdCreate("rawipc.test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Attach(mem, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Detach(), unix.Munmap(mem)); err != nil {
			t.Error(err)
		}
	})
	return mem, r
}

func sharedSemaphore(t *testing.T) (*Semaphore, *Region) {
	t.Helper()
	mem, r := attachedPage(t)
	s, err := At[Semaphore](mem, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(tooLong); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// stranger sleeps on w as another process's waiter would, and says whether it
// was woken.
func stranger(w *atomic.Uint32) func() bool {
	var ts unix.Timespec
	woken := make(chan bool, 1)
	old := w.Load()
	go func() { woken <- sleep(w, old, monotonicAfter(tooLong, &ts), matchAny) == 0 }()
	time.Sleep(20 * time.Millisecond)
	return func() bool { return <-woken }
}

func TestOwnedTokenNotedButNotCounted(t *testing.T) {
	s, r := sharedSemaphore(t)
	dead := r.id + 1
	s.state.Store(withTokens(ownedFlip, 0))
	s.owned.slots[0].id.Store(dead)
	s.owned.count.Store(1)
	s.owned.noted.Store(1)
	s.owned.watched.Store(2)
	s.owned.mu.state.Store(uint64(dead)<<32 | ownerDied)
	ctx, cancel := context.WithTimeout(context.Background(), tooLong)
	defer cancel()
	if err := s.Acquire(ctx); err != nil {
		t.Error(err)
	}
}

// acquiredSoon waits for the end of an Acquire; if it does not come, that is what's
// wrong, and a token ends it.
func acquiredSoon(t *testing.T, s *Semaphore, acquired <-chan error, wrong string) {
	t.Helper()
	select {
	case err := <-acquired:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(tooLong):
		t.Error(wrong)
		s.Release()
		<-acquired
	}
}

func TestSleeperLearnsToWatchOwners(t *testing.T) {
	s, r := sharedSemaphore(t)
	acquired := make(chan error, 1)
	go func() { acquired <- s.Acquire(context.Background()) }()
	soon(t, "a waiter", func() bool { return lowPart(s.state.Load())&waiters != 0 })
	time.Sleep(20 * time.Millisecond)
	s.watch()
	s.owned.slots[0].id.Store(r.id + 1) // who is dead
	s.owned.slots[0].count.Store(1)
	acquiredSoon(t, s, acquired, "a waiter that slept before any token was owned never looked for dead owners")
}

// A waiter that looks for dead owners leaves it to whoever is at it, and looks again.
func TestLookForOwnersBesideAnother(t *testing.T) {
	s, r := sharedSemaphore(t)
	s.watch()
	s.owned.slots[0].id.Store(r.id + 1) // who is dead
	s.owned.slots[0].count.Store(1)
	if err := s.owned.mu.Lock(); err != nil {
		t.Fatal(err)
	}
	acquired := make(chan error, 1)
	go func() { acquired <- s.Acquire(context.Background()) }()
	soon(t, "a waiter", func() bool { return lowPart(s.state.Load())&waiters != 0 })
	time.Sleep(2 * reclaimEvery)
	if len(acquired) > 0 {
		t.Error("a token came back under another's lock")
	}
	if err := s.owned.mu.Unlock(); err != nil {
		t.Error(err)
	}
	acquiredSoon(t, s, acquired, "who found the lock taken once never looked again")
}

func TestOwnedErrorPassesTheWakeOn(t *testing.T) {
	s, r := sharedSemaphore(t)
	r.judge = everyoneLives{r.judge}
	s.Init(0, 1)
	for i := range s.owned.slots {
		s.owned.slots[i].id.Store(r.id + 1 + uint32(i))
		s.owned.slots[i].count.Store(1)
	}
	acquired := make(chan error, 1)
	go func() { acquired <- s.AcquireOwned(context.Background()) }()
	soon(t, "a waiter", func() bool { return lowPart(s.state.Load())&waiters != 0 })
	time.Sleep(20 * time.Millisecond)
	woken := stranger(lowWord(&s.state))
	if err := s.Release(); err != nil {
		t.Error(err)
	}
	if err := <-acquired; !errors.Is(err, unix.EAGAIN) {
		t.Errorf("without a slot: %v", err)
	}
	if !woken() {
		t.Error("a waiter left with an error, and nobody else was woken for the token")
	}
}

func TestTokensLeftPassTheWakeOn(t *testing.T) {
	s, _ := sharedSemaphore(t)
	acquired := make(chan error, 1)
	go func() { acquired <- s.Acquire(context.Background()) }()
	soon(t, "a waiter", func() bool { return lowPart(s.state.Load())&waiters != 0 })
	time.Sleep(20 * time.Millisecond)
	woken := stranger(lowWord(&s.state))
	// Somebody gives back two tokens of a dead owner and is killed before it
	// wakes for them: the kernel wakes one.
	s.state.Store(withTokens(s.state.Load(), 2))
	futexWake(lowWord(&s.state), 1, matchAny)
	if err := <-acquired; err != nil {
		t.Error(err)
	}
	if !woken() {
		t.Error("one token of two is left, and its waiter asleep")
	}
}

func TestReleaseOwnedWaitsWithoutThread(t *testing.T) {
	s, r := sharedSemaphore(t)
	const n = 300
	s.Init(0, n)
	s.owned.slots[0].id.Store(r.id)
	s.owned.slots[0].count.Store(n)
	if err := s.owned.mu.Lock(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := s.ReleaseOwned(); err != nil {
				t.Error(err)
			}
		})
	}
	soon(t, "all waiting", func() bool { return r.waking.Load() == n })
	time.Sleep(50 * time.Millisecond)
	if tasks, err := os.ReadDir("/proc/self/task"); err != nil || len(tasks) >= 200 {
		t.Errorf("%d threads for %d waiters (%v)", len(tasks), n, err)
	}
	if err := s.owned.mu.Unlock(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if s.Value() != n {
		t.Errorf("%d tokens, want %d", s.Value(), n)
	}
}

func TestRobustLeavingADyingOwner(t *testing.T) {
	mem, r := attachedPage(t)
	r.judge = everyoneLives{r.judge}
	m, err := At[RobustMutex](mem, 0)
	if err != nil {
		t.Fatal(err)
	}
	m.state.Store(uint64(r.id+1)<<32 | ownerDied | waiters)
	woken := stranger(lowWord(&m.state))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := m.LockContext(ctx); err != context.DeadlineExceeded {
		t.Errorf("while the owner dies: %v", err)
	}
	if !woken() {
		t.Error("who left may have had the kernel's one wake, and did not pass it on")
	}
}
