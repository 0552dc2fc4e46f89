package futex_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// nobody is an identity that no process has locked a byte for.
const nobody = 7

// Many goroutines of a process lock at once what a dead reader has left, none
// of them before.
func TestRWMutexSlotTakenOnce(t *testing.T) {
	const locks, goroutines = 2000, 2
	s := newShared[[locks]futex.RWMutex](t)
	var turn atomic.Int32 // all of them are on the way to lock number turn-1
	var in [locks]atomic.Int32
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for i := range s.Ptr() {
				for int(turn.Load()) <= i {
					runtime.Gosched()
				}
				if err := s.Ptr()[i].RLock(); err != nil {
					t.Error(err)
				}
				in[i].Add(1)
			}
		})
	}
	for i := range s.Ptr() {
		m := &s.Ptr()[i]
		m.PresetReaders(0, nobody, 5)
		turn.Add(1)
		for in[i].Load() < goroutines {
			runtime.Gosched()
		}
		if n := m.Readers(); n != goroutines {
			t.Errorf("lock %d counts %d readers, want %d", i, n, goroutines)
		}
	}
	all.Wait()
}

// rwPair is a lock with two counters that are equal while no writer is inside.
type rwPair struct {
	Mu       futex.RWMutex
	A, B     int64
	In       atomic.Int32 // children that are where the test wants them
	Over     atomic.Int32 // they are to end
	Got      atomic.Int32 // goroutines that had the lock once
	Sections atomic.Int64
}

type rwChild = *proc.Func[*shm.Shared[rwPair]]

// startRW starts a child and waits until it counts itself in.
func startRW(t testing.TB, f rwChild, s *shm.Shared[rwPair]) *proc.Process {
	t.Helper()
	before := s.Ptr().In.Load()
	p, err := f.Start(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the child is in", func() bool { return s.Ptr().In.Load() > before || !p.Alive() })
	return p
}

// end kills a child.
func end(t testing.TB, p *proc.Process) {
	t.Helper()
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if st, _ := p.Wait(bg); st.Signal() != unix.SIGKILL {
		t.Errorf("%v, want it killed", st)
	}
}

var rwReadAndStay = proc.Register("rwReadAndStay", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	if err := s.Ptr().Mu.RLockContext(ctx); err != nil {
		return err
	}
	s.Ptr().In.Add(1)
	<-ctx.Done()
	return s.Ptr().Mu.RUnlock()
})

var rwWriteAndStay = proc.Register("rwWriteAndStay", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	if err := s.Ptr().Mu.LockContext(ctx); err != nil && err != futex.ErrOwnerDead {
		return err
	}
	s.Ptr().A++
	s.Ptr().In.Add(1)
	<-ctx.Done()
	return s.Ptr().Mu.Unlock()
})

var rwWriteInVain = proc.Register("rwWriteInVain", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	s.Ptr().In.Add(1)
	return s.Ptr().Mu.LockContext(ctx)
})

// A writer that dies while it waits for readers has changed nothing, and who
// comes after it is told nothing.
func TestRWMutexDeadWaitingWriter(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	for range 3 {
		if err := m.RLock(); err != nil {
			t.Fatal(err)
		}
		p := startRW(t, rwWriteInVain, s)
		until(t, "gate closed", func() bool {
			ok, err := m.TryRLock()
			if ok {
				err = m.RUnlock()
			}
			if err != nil {
				t.Error(err)
			}
			return !ok
		})
		end(t, p)
		if err := m.RLockContext(within(t)); err != nil {
			t.Errorf("a reader after the waiting writer's death: %v", err)
		}
		m.RUnlock()
		m.RUnlock()
		if err := m.LockContext(within(t)); err != nil {
			t.Errorf("a writer after the waiting writer's death: %v", err)
		}
		m.Unlock()
	}
}

var rwWriteOn = proc.Register("rwWriteOn", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	g := s.Ptr()
	g.In.Add(1)
	for g.Over.Load() == 0 {
		if err := g.Mu.Lock(); err != nil {
			return err
		}
		g.A++
		for end := time.Now().Add(300 * time.Microsecond); time.Now().Before(end); {
		} // long enough for a waiting reader to sleep
		g.B++
		if err := g.Mu.Unlock(); err != nil {
			return err
		}
	}
	return nil
})

// Writers who follow each other at once don't starve a reader.
func TestRWMutexWritersStarveNoReader(t *testing.T) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	for range 2 {
		p := startRW(t, rwWriteOn, s)
		defer p.Wait(bg)
	}
	defer g.Over.Store(1)
	longest := time.Duration(0)
	for range 50 {
		time.Sleep(time.Millisecond)
		start := time.Now()
		if err := g.Mu.RLockContext(within(t)); err != nil {
			t.Fatal(err)
		}
		if g.A != g.B {
			t.Errorf("half a section: %d and %d", g.A, g.B)
		}
		if err := g.Mu.RUnlock(); err != nil {
			t.Error(err)
		}
		longest = max(longest, time.Since(start))
	}
	t.Logf("a reader waited %v at most", longest)
}
