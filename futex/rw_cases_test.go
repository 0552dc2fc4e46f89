package futex_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Kinds of locking, for tables.
var rwKinds = []struct {
	name   string
	lock   func(*futex.RWMutex, context.Context) error
	try    func(*futex.RWMutex) (bool, error)
	unlock func(*futex.RWMutex) error
}{
	{"reading", (*futex.RWMutex).RLockContext, (*futex.RWMutex).TryRLock, (*futex.RWMutex).RUnlock},
	{"writing", (*futex.RWMutex).LockContext, (*futex.RWMutex).TryLock, (*futex.RWMutex).Unlock},
}

// excluded wants the lock to be out of reach, in time and at once.
func excluded(t testing.TB, m *futex.RWMutex, kind int, why string) {
	t.Helper()
	const wait = 20 * time.Millisecond
	k := rwKinds[kind]
	if ok, err := k.try(m); ok || err != nil {
		t.Errorf("%s: trying to lock for %s: %v, %v", why, k.name, ok, err)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(bg, wait)
	defer cancel()
	if err := k.lock(m, ctx); err != context.DeadlineExceeded || time.Since(start) < wait {
		t.Errorf("%s: locking for %s: %v after %v", why, k.name, err, time.Since(start))
	}
}

// passes wants the lock to be free for one of that kind.
func passes(t testing.TB, m *futex.RWMutex, kind int, want error) {
	t.Helper()
	k := rwKinds[kind]
	if err := k.lock(m, within(t)); err != want {
		t.Fatalf("locking for %s: %v, want %v", k.name, err, want)
	}
	if err := k.unlock(m); err != nil {
		t.Error(err)
	}
}

// dismiss ends a child that waits for its context.
func dismiss(t testing.TB, p *proc.Process) {
	t.Helper()
	if err := p.Terminate(); err != nil {
		t.Error(err)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Errorf("%s: %v", p.Name(), err)
	}
}

const reading, writing = 0, 1

func TestCase094ReadersTogether(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	var readers []*proc.Process
	for range 3 {
		readers = append(readers, startRW(t, rwReadAndStay, s))
	}
	passes(t, m, reading, nil)
	excluded(t, m, writing, "three processes read")
	for _, p := range readers {
		dismiss(t, p)
	}
	passes(t, m, writing, nil)
	w := startRW(t, rwWriteAndStay, s)
	excluded(t, m, writing, "another process writes")
	excluded(t, m, reading, "another process writes")
	dismiss(t, w)
	passes(t, m, writing, nil)
	passes(t, m, reading, nil)
}

func TestCase095Try(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	for _, c := range []struct {
		holder   rwChild
		can      [2]bool
		whatElse string
	}{
		{rwReadAndStay, [2]bool{true, false}, "reads"},
		{rwWriteAndStay, [2]bool{false, false}, "writes"},
	} {
		p := startRW(t, c.holder, s)
		for i, k := range rwKinds {
			ok, err := k.try(m)
			if ok != c.can[i] || err != nil {
				t.Errorf("another process %s, trying to lock for %s: %v, %v", c.whatElse, k.name, ok, err)
			}
			if ok {
				k.unlock(m)
			}
		}
		dismiss(t, p)
		for _, k := range rwKinds {
			if ok, err := k.try(m); !ok || err != nil {
				t.Errorf("free, trying to lock for %s: %v, %v", k.name, ok, err)
			} else if err := k.unlock(m); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCase096EndedContext(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	cancelled, cancel := context.WithCancel(bg)
	cancel()
	late, cancel := context.WithDeadline(bg, time.Now().Add(-time.Second))
	defer cancel()
	ended := []context.Context{cancelled, late}
	for _, k := range rwKinds {
		for _, ctx := range ended {
			if err := k.lock(m, ctx); err != nil {
				t.Errorf("free, %s, under an ended context: %v, want nil beside %v", k.name, err, ctx.Err())
			} else if err := k.unlock(m); err != nil {
				t.Error(err)
			}
		}
	}
	p := startRW(t, rwWriteAndStay, s)
	for i, k := range rwKinds {
		for _, ctx := range ended {
			if err := k.lock(m, ctx); err != ctx.Err() {
				t.Errorf("held, %s, under an ended context: %v, want %v", k.name, err, ctx.Err())
			}
		}
		excluded(t, m, i, "held")
	}
	dismiss(t, p)
	passes(t, m, writing, nil)
}

var rwLockEach = proc.Register("rwLockEach", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	var all sync.WaitGroup
	errs := make(chan error, len(rwKinds))
	for _, k := range rwKinds {
		all.Go(func() {
			s.Ptr().In.Add(1)
			err := k.lock(&s.Ptr().Mu, ctx)
			if err == nil {
				s.Ptr().Got.Add(1)
				err = k.unlock(&s.Ptr().Mu)
			}
			errs <- err
		})
	}
	all.Wait()
	return errors.Join(<-errs, <-errs)
})

func TestCase097Signals(t *testing.T) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	if err := g.Mu.Lock(); err != nil {
		t.Fatal(err)
	}
	p, err := rwLockEach.Start(within(t), s)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "both on the way", func() bool { return g.In.Load() == 2 })
	for range 300 {
		poke(p.Pid())
		time.Sleep(time.Millisecond)
	}
	if n := g.Got.Load(); n != 0 {
		t.Errorf("%d got a lock that was held", n)
	}
	if err := g.Mu.Unlock(); err != nil {
		t.Error(err)
	}
	if _, err := p.Wait(within(t)); err != nil || g.Got.Load() != 2 {
		t.Errorf("%d got the lock: %v", g.Got.Load(), err)
	}
}

func TestCase098UnlockInTheWrongMode(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	refused := func(state string, calls ...func() error) {
		t.Helper()
		for _, call := range calls {
			if err := call(); !errors.Is(err, unix.EPERM) {
				t.Errorf("%s: %v", state, err)
			}
		}
	}
	refused("free", m.Unlock, m.RUnlock, m.MarkConsistent)
	m.RLock()
	refused("reading", m.Unlock, m.MarkConsistent)
	excluded(t, m, writing, "still reading")
	m.RUnlock()
	refused("unlocked", m.RUnlock)
	m.Lock()
	refused("writing", m.RUnlock)
	if err := m.MarkConsistent(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("nothing to mark: %v", err)
	}
	excluded(t, m, reading, "still writing")
	m.Unlock()
	for _, c := range []rwChild{rwReadAndStay, rwWriteAndStay} {
		p := startRW(t, c, s)
		refused("another's", m.Unlock, m.RUnlock, m.MarkConsistent)
		excluded(t, m, writing, "still another's")
		dismiss(t, p)
	}
	passes(t, m, writing, nil)
}

// blockedReaders starts goroutines and a process with one that read as soon as
// they can, and stay until they are told.
func blockedReaders(t *testing.T, s *shm.Shared[rwPair]) (leave func()) {
	g := s.Ptr()
	stay := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if err := g.Mu.RLockContext(within(t)); err != nil {
				t.Error(err)
				return
			}
			g.In.Add(1)
			<-stay
			if err := g.Mu.RUnlock(); err != nil {
				t.Error(err)
			}
		})
	}
	var children []*proc.Process
	for range 2 {
		p, err := rwReadAndStay.Start(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, p)
	}
	return func() {
		close(stay)
		for _, p := range children {
			dismiss(t, p)
		}
		all.Wait()
	}
}

func TestCase101WriterTimesOut(t *testing.T) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	if err := g.Mu.RLock(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bg)
	out := make(chan error)
	go func() { out <- g.Mu.LockContext(ctx) }()
	until(t, "the gate closed", func() bool {
		ok, _ := g.Mu.TryRLock()
		if ok {
			g.Mu.RUnlock()
		}
		return !ok
	})
	leave := blockedReaders(t, s)
	time.Sleep(100 * time.Millisecond)
	if n := g.In.Load(); n != 0 {
		t.Errorf("%d readers passed a writer that waits", n)
	}
	cancel()
	if err := <-out; err != context.Canceled {
		t.Errorf("the writer: %v", err)
	}
	until(t, "all readers in, beside the first", func() bool { return g.In.Load() == 4 })
	leave()
	if err := g.Mu.RUnlock(); err != nil {
		t.Error(err)
	}
	passes(t, &g.Mu, writing, nil)
}

// A reader that comes by takes the lock just as the writer leaves; those that
// sleep get in all the same, and are in together.
func TestCase102AllReadersWake(t *testing.T) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	for round := range 3 {
		g.In.Store(0)
		if err := g.Mu.Lock(); err != nil {
			t.Fatal(err)
		}
		leave := blockedReaders(t, s)
		time.Sleep(100 * time.Millisecond)
		if n := g.In.Load(); n != 0 {
			t.Errorf("round %d: %d readers beside a writer", round, n)
		}
		if err := g.Mu.Unlock(); err != nil {
			t.Error(err)
		}
		if ok, err := g.Mu.TryRLock(); !ok || err != nil {
			t.Errorf("the one that comes by: %v, %v", ok, err)
		}
		until(t, "all readers in", func() bool { return g.In.Load() == 4 })
		if err := g.Mu.RUnlock(); err != nil {
			t.Error(err)
		}
		leave()
	}
}

func TestCase105ReaderLimit(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	m.SetReaders(t, futex.MostReaders-1)
	if err := m.RLock(); err != nil {
		t.Fatalf("the last reader that has room: %v", err)
	}
	for range 3 {
		if err := m.RLock(); !errors.Is(err, unix.EAGAIN) || !strings.Contains(err.Error(), "8388608") {
			t.Errorf("one too many: %v", err)
		}
		if err := m.RLockContext(within(t)); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("one too many: %v", err)
		}
		if ok, err := m.TryRLock(); ok || !errors.Is(err, unix.EAGAIN) {
			t.Errorf("one too many: %v, %v", ok, err)
		}
	}
	if n := m.Readers(); n != futex.MostReaders {
		t.Errorf("%d readers, want %d", n, futex.MostReaders)
	}
	excluded(t, m, writing, "so many read")
	if err := m.RUnlock(); err != nil {
		t.Error(err)
	}
	passes(t, m, reading, nil)
	m.SetReaders(t, 0)
	passes(t, m, writing, nil)
	passes(t, m, reading, nil)
}

// There is no upgrade: a process that reads and locks for writing waits for
// itself, as documented; the lock outlives that.
func TestCase107Upgrade(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	if err := m.RLock(); err != nil {
		t.Fatal(err)
	}
	excluded(t, m, writing, "reading oneself")
	passes(t, m, reading, nil)
	if err := m.RUnlock(); err != nil {
		t.Error(err)
	}
	if err := m.Lock(); err != nil {
		t.Fatal(err)
	}
	excluded(t, m, reading, "writing oneself")
	if err := m.Unlock(); err != nil {
		t.Error(err)
	}
	passes(t, m, writing, nil)
}
