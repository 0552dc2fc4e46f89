package futex_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// guarded is a lock with two counters that are equal whenever it is free.
type guarded struct {
	Mu   futex.RobustMutex
	A, B int64
}

func newShared[T any](t testing.TB) *shm.Shared[T] {
	t.Helper()
	s, err := shm.New[T](nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, hang)
	t.Cleanup(cancel)
	return ctx
}

// lockAndDie takes the lock, changes half, and is killed.
var lockAndDie = proc.Register("lockAndDie", func(ctx context.Context, s *shm.Shared[guarded]) error {
	if err := s.Ptr().Mu.LockContext(ctx); err != nil {
		return err
	}
	s.Ptr().A++
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
})

// recoverAndDie is told of a holder's death, and is killed before it has marked
// the lock.
var recoverAndDie = proc.Register("recoverAndDie", func(ctx context.Context, s *shm.Shared[guarded]) error {
	if err := s.Ptr().Mu.LockContext(ctx); err != futex.ErrOwnerDead {
		return errors.Join(errors.New("not told of the death"), err)
	}
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
})

func killedHolder(t testing.TB, s *shm.Shared[guarded]) {
	t.Helper()
	killedIn(t, s, lockAndDie)
}

func killedIn(t testing.TB, s *shm.Shared[guarded], f *proc.Func[*shm.Shared[guarded]]) {
	t.Helper()
	p, err := f.Start(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := p.Wait(bg); state.Signal() != unix.SIGKILL {
		t.Fatalf("%v, %v", state, err)
	}
}

func TestRobustMutexExcludes(t *testing.T) {
	s := newShared[guarded](t)
	g := s.Ptr()
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	count := 0 // -race vouches for the edges
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range rounds {
				if err := g.Mu.Lock(); err != nil {
					t.Error(err)
					return
				}
				count++
				if err := g.Mu.Unlock(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if count != 8*rounds {
		t.Errorf("%d, want %d", count, 8*rounds)
	}
}

func TestCase070Recover(t *testing.T) {
	s := newShared[guarded](t)
	m := &s.Ptr().Mu
	for deaths := range 3 {
		killedHolder(t, s)
		for range deaths { // who recovers dies as well, and the next one is told
			killedIn(t, s, recoverAndDie)
		}
		if err := m.LockContext(within(t)); !errors.Is(err, futex.ErrOwnerDead) {
			t.Fatalf("after the holder's death: %v", err)
		}
		if err := m.MarkConsistent(); err != nil {
			t.Error(err)
		}
		if err := m.MarkConsistent(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("nothing to mark: %v", err)
		}
		if err := m.Unlock(); err != nil {
			t.Error(err)
		}
		if err := m.Lock(); err != nil {
			t.Errorf("after the repair: %v", err)
		}
		if err := m.Unlock(); err != nil {
			t.Error(err)
		}
	}
}

func TestCase071NotRecoverable(t *testing.T) {
	s := newShared[guarded](t)
	m := &s.Ptr().Mu
	killedHolder(t, s)
	if ok, err := m.TryLock(); !ok || !errors.Is(err, futex.ErrOwnerDead) {
		t.Fatalf("after the holder's death: %v, %v", ok, err)
	}
	sleepers := make(chan error, 3)
	for range cap(sleepers) {
		go func() { sleepers <- m.LockContext(within(t)) }()
	}
	time.Sleep(20 * time.Millisecond)
	if err := m.Unlock(); err != nil {
		t.Error(err)
	}
	for range cap(sleepers) {
		if err := <-sleepers; err != futex.ErrNotRecoverable {
			t.Errorf("a sleeper: %v", err)
		}
	}
	if err := m.Lock(); err != futex.ErrNotRecoverable {
		t.Errorf("Lock: %v", err)
	}
	if ok, err := m.TryLock(); ok || err != futex.ErrNotRecoverable {
		t.Errorf("TryLock: %v, %v", ok, err)
	}
	if err := m.Unlock(); !errors.Is(err, os.ErrPermission) {
		t.Errorf("Unlock: %v", err)
	}
}

func TestCase072TryAndTimed(t *testing.T) {
	s := newShared[guarded](t)
	m := &s.Ptr().Mu
	killedHolder(t, s)
	if ok, err := m.TryLock(); !ok || err != futex.ErrOwnerDead {
		t.Fatalf("TryLock: %v, %v", ok, err)
	}
	if ok, err := m.TryLock(); ok || err != nil {
		t.Fatalf("held: TryLock: %v, %v", ok, err)
	}
	m.MarkConsistent()
	m.Unlock()
	killedHolder(t, s)
	ctx, cancel := context.WithTimeout(bg, hang)
	defer cancel()
	start := time.Now()
	if err := m.LockContext(ctx); err != futex.ErrOwnerDead {
		t.Fatalf("LockContext: %v", err)
	}
	t.Logf("ErrOwnerDead after %v", time.Since(start))
	m.MarkConsistent()
	m.Unlock()
}

func TestRobustMutexErrors(t *testing.T) {
	var lost futex.RobustMutex
	if err := lost.Lock(); err != futex.ErrNotAttached {
		t.Errorf("not attached: %v", err)
	}
	s := newShared[guarded](t)
	m := &s.Ptr().Mu
	if err := m.Unlock(); !errors.Is(err, unix.EPERM) {
		t.Errorf("Unlock of a free lock: %v", err)
	}
	if err := m.MarkConsistent(); !errors.Is(err, unix.EPERM) {
		t.Errorf("MarkConsistent of a free lock: %v", err)
	}
	m.Lock()
	start := time.Now()
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	if err := m.LockContext(ctx); err != context.DeadlineExceeded || time.Since(start) < 20*time.Millisecond {
		t.Errorf("held: %v after %v", err, time.Since(start))
	}
	if err := m.LockContext(ctx); err != context.DeadlineExceeded {
		t.Errorf("held, and late already: %v", err)
	}
	m.Unlock()
	if err := m.LockContext(ctx); err != nil {
		t.Errorf("free, and late: %v", err)
	}
	m.Unlock()
}

func TestSemaphoreBasics(t *testing.T) {
	s := newShared[futex.Semaphore](t)
	sem := s.Ptr()
	most := futex.MaxTokens
	for _, c := range [][2]int{{-1, 0}, {2, 1}, {0, most + 1}} {
		if err := sem.Init(c[0], c[1]); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Init(%d, %d): %v", c[0], c[1], err)
		}
	}
	if err := sem.Init(2, 2); err != nil {
		t.Fatal(err)
	}
	if err := sem.Release(); !errors.Is(err, unix.EOVERFLOW) || sem.Value() != 2 {
		t.Errorf("Release above the limit: %v, %d tokens", err, sem.Value())
	}
	for i := range 2 {
		if err := sem.Acquire(bg); err != nil || sem.Value() != 1-i {
			t.Errorf("Acquire: %v, %d tokens", err, sem.Value())
		}
	}
	if sem.TryAcquire() {
		t.Error("a token out of nothing")
	}
	got := make(chan error, 5)
	for range cap(got) {
		go func() { got <- sem.Acquire(within(t)) }()
	}
	for range cap(got) {
		time.Sleep(time.Millisecond)
		for sem.Value() == 2 {
			time.Sleep(time.Millisecond)
		}
		if err := sem.Release(); err != nil {
			t.Error(err)
		}
	}
	for range cap(got) {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
	if n := sem.Value(); n != 0 {
		t.Errorf("%d tokens left", n)
	}
}

var ownAndDie = proc.Register("ownAndDie", func(ctx context.Context, s *shm.Shared[futex.Semaphore]) error {
	for range 2 {
		if err := s.Ptr().AcquireOwned(ctx); err != nil {
			return err
		}
	}
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
})

func TestCase122OwnedTokensComeBack(t *testing.T) {
	s := newShared[futex.Semaphore](t)
	sem := s.Ptr()
	if err := sem.Init(2, 2); err != nil {
		t.Fatal(err)
	}
	if err := sem.ReleaseOwned(); !errors.Is(err, unix.EPERM) {
		t.Errorf("ReleaseOwned of nothing: %v", err)
	}
	for range 3 {
		p, err := ownAndDie.Start(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		p.Wait(bg)
		if sem.TryAcquire() {
			t.Error("the tokens of the dead came back before anybody looked")
		}
		start := time.Now()
		if err := sem.AcquireOwned(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := sem.Acquire(within(t)); err != nil {
			t.Fatal(err)
		}
		t.Logf("back after %v", time.Since(start))
		if err := errors.Join(sem.ReleaseOwned(), sem.Release()); err != nil {
			t.Error(err)
		}
	}
}

func TestCase123Event(t *testing.T) {
	s := newShared[futex.Event](t)
	e := s.Ptr()
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := e.Wait(ctx); err != context.Canceled || e.IsSet() {
		t.Errorf("not set: %v", err)
	}
	e.Set()
	if err := e.Wait(ctx); err != nil || !e.IsSet() {
		t.Errorf("set: %v", err)
	}
	e.Reset()
	if err := e.Wait(ctx); err != context.Canceled || e.IsSet() {
		t.Errorf("reset: %v", err)
	}
}

func TestCase125SetThenReset(t *testing.T) {
	s := newShared[futex.Event](t)
	e := s.Ptr()
	rounds := 500
	if testing.Short() {
		rounds = 50
	}
	for range rounds {
		const n = 4
		done := make(chan error, n)
		for range n {
			go func() { done <- e.Wait(within(t)) }()
		}
		until(t, "all waiting", func() bool { return inside("futex.(*Event).waitSlow") == n })
		e.Set()
		e.Reset()
		for range n {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(hang):
				t.Fatal("one sleeps on")
			}
		}
	}
}

// inside counts the goroutines that are blocked within a function.
func inside(function string) (n int) {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if head, _, _ := strings.Cut(g, "\n"); strings.Contains(g, function) &&
			(strings.Contains(head, "[select") || strings.Contains(head, "[syscall")) {
			n++
		}
	}
	return n
}

func TestLiveness(t *testing.T) {
	s := newShared[futex.Liveness](t)
	l := s.Ptr()
	if l.Alive() {
		t.Error("nobody is alive")
	}
	p, err := publish.Start(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "alive", l.Alive)
	for end := time.AfterFunc(20*time.Millisecond, func() { p.Kill() }); ; {
		i, err := futex.WaitAny(within(t), l.Word())
		if i != 0 || err != nil {
			t.Fatal(i, err)
		}
		if !l.Alive() {
			end.Stop()
			break
		}
	}
	p.Wait(bg)
	if err := l.Publish(); err != nil || !l.Alive() {
		t.Errorf("published again: %v, %v", err, l.Alive())
	}
	if err := l.Withdraw(); err != nil || l.Alive() {
		t.Errorf("withdrawn: %v", err)
	}
	if err := l.Withdraw(); !errors.Is(err, unix.EPERM) {
		t.Errorf("withdrawn twice: %v", err)
	}
}

var publish = proc.Register("publish", func(ctx context.Context, s *shm.Shared[futex.Liveness]) error {
	if err := s.Ptr().Publish(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
})
