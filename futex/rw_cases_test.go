package futex_test

import (
	"context"
	"errors"
	"math/rand/v2"
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
	ctx, cancel := context.WithCancel(bg)
	cancel()
	for _, k := range rwKinds {
		if err := k.lock(m, ctx); err != nil {
			t.Errorf("free, %s, under an ended context: %v", k.name, err)
		} else if err := k.unlock(m); err != nil {
			t.Error(err)
		}
	}
	p := startRW(t, rwWriteAndStay, s)
	for i, k := range rwKinds {
		if err := k.lock(m, ctx); err != context.Canceled {
			t.Errorf("held, %s, under an ended context: %v", k.name, err)
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
		p.Signal(unix.SIGURG) // the runtime's own, without effect
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

// rwWorker does a section of a random kind, by a random way, until told to end.
func rwWorker(ctx context.Context, g *rwPair) error {
	for n := 0; g.Over.Load() == 0; n++ {
		kind, tries := rand.IntN(2), rand.IntN(2) == 0
		k := rwKinds[kind]
		if tries {
			if ok, err := k.try(&g.Mu); err != nil {
				return err
			} else if !ok {
				continue
			}
		} else if err := k.lock(&g.Mu, ctx); err != nil {
			return err
		}
		if kind == writing {
			g.A++
		}
		if a, b := g.A, g.B; a != b+int64(kind) {
			return errors.New("a writer beside another one, or beside a reader")
		}
		if kind == writing {
			g.B++
		}
		if err := k.unlock(&g.Mu); err != nil {
			return err
		}
		g.Sections.Add(1)
		if n == 0 {
			g.Got.Add(1)
		}
	}
	return nil
}

var rwStorm = proc.Register("rwStorm", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	errs := make(chan error)
	for range rwPerChild {
		go func() { errs <- rwWorker(ctx, s.Ptr()) }()
	}
	var all error
	for range rwPerChild {
		if err := <-errs; err != nil {
			s.Ptr().Over.Store(1)
			all = errors.Join(all, err)
		}
	}
	return all
})

const rwPerChild = 8

func runStorm(t *testing.T, children int, d time.Duration) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	ctx, cancel := context.WithTimeout(bg, d+hang)
	defer cancel()
	var all []*proc.Process
	for range children {
		p, err := rwStorm.Start(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	until(t, "everybody once in", func() bool {
		return int(g.Got.Load()) >= children || g.Over.Load() != 0
	})
	last := int64(0)
	for end := time.Now().Add(d); time.Now().Before(end) && g.Over.Load() == 0; {
		time.Sleep(d / 10)
		until(t, "progress", func() bool { return g.Sections.Load() > last || g.Over.Load() != 0 })
		last = g.Sections.Load()
	}
	g.Over.Store(1)
	for _, p := range all {
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d sections, %d of them written", g.Sections.Load(), g.A)
	passes(t, &g.Mu, writing, nil)
}

func TestCase103Storm(t *testing.T) {
	d := time.Second
	switch {
	case *long:
		d = time.Minute
	case testing.Short():
		d = 200 * time.Millisecond
	}
	runStorm(t, 4, d)
}

var rwHandOver = proc.Register("rwHandOver", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	g := s.Ptr()
	for range 500 {
		for i, k := range rwKinds {
			if err := k.lock(&g.Mu, ctx); err != nil {
				return err
			}
			g.A += int64(i)
			if err := k.unlock(&g.Mu); err != nil {
				return err
			}
		}
	}
	return nil
})

func TestCase104HandOver(t *testing.T) {
	s := newShared[rwPair](t)
	var all []*proc.Process
	for range 3 {
		p, err := rwHandOver.Start(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for _, p := range all {
		if _, err := p.Wait(within(t)); err != nil {
			t.Error(err)
		}
	}
	if n := s.Ptr().A; n != 1500 {
		t.Errorf("%d sections written, want 1500", n)
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

var rwReadOn = proc.Register("rwReadOn", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	g := s.Ptr()
	for in := false; g.Over.Load() == 0; in = true {
		if err := g.Mu.RLock(); err != nil {
			return err
		}
		if !in {
			g.In.Add(1)
		}
		for end := time.Now().Add(time.Millisecond); time.Now().Before(end); {
		}
		if err := g.Mu.RUnlock(); err != nil {
			return err
		}
	}
	return nil
})

func TestCase106ReadersStarveNoWriter(t *testing.T) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	for range 4 {
		p := startRW(t, rwReadOn, s)
		defer p.Wait(bg)
	}
	defer g.Over.Store(1)
	longest := time.Duration(0)
	for range 20 {
		start := time.Now()
		passes(t, &g.Mu, writing, nil)
		longest = max(longest, time.Since(start))
	}
	t.Logf("a writer waited %v at most", longest)
	if longest > 20*time.Second { // of 1 s on an idle machine
		t.Error("four readers that never pause starve a writer")
	}
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

func TestRWMutexDeadReader(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	for range 2 { // who dies before the writer comes
		end(t, startRW(t, rwReadAndStay, s))
	}
	if ok, err := m.TryLock(); !ok || err != nil {
		t.Errorf("after dead readers: %v, %v", ok, err)
	} else if err := m.Unlock(); err != nil {
		t.Error(err)
	}
	passes(t, m, writing, nil)
	p := startRW(t, rwReadAndStay, s) // and while it waits
	time.AfterFunc(50*time.Millisecond, func() { p.Kill() })
	start := time.Now()
	passes(t, m, writing, nil)
	t.Logf("a reader that died while a writer waited: %v", time.Since(start))
	p.Wait(bg)
}

func TestRWMutexDeadWriter(t *testing.T) {
	s := newShared[rwPair](t)
	m := &s.Ptr().Mu
	dead := futex.ErrOwnerDead
	for _, while := range []bool{false, true} {
		p := startRW(t, rwWriteAndStay, s)
		if while { // one waits
			time.AfterFunc(50*time.Millisecond, func() { p.Kill() })
			passes(t, m, reading, dead)
			p.Wait(bg)
		} else {
			end(t, p)
			if ok, err := m.TryRLock(); !ok || err != dead {
				t.Errorf("TryRLock: %v, %v", ok, err)
			}
			if err := m.RUnlock(); err != nil {
				t.Error(err)
			}
		}
		passes(t, m, reading, dead)
		passes(t, m, writing, dead)
		reader := startRW(t, rwReadUnrepaired, s)
		if _, err := reader.Wait(within(t)); err != nil {
			t.Errorf("another process: %v", err)
		}
		if ok, err := m.TryLock(); !ok || err != dead {
			t.Fatalf("TryLock: %v, %v", ok, err)
		}
		if err := m.MarkConsistent(); err != nil {
			t.Error(err)
		}
		if err := m.MarkConsistent(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("marked twice: %v", err)
		}
		if err := m.Unlock(); err != nil {
			t.Error(err)
		}
		passes(t, m, reading, nil)
		passes(t, m, writing, nil)
	}
}

var rwReadUnrepaired = proc.Register("rwReadUnrepaired", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	s.Ptr().In.Add(1)
	if err := s.Ptr().Mu.RLockContext(ctx); err != futex.ErrOwnerDead {
		return errors.New("no word of the death")
	}
	return s.Ptr().Mu.RUnlock()
})

// As many processes read as there is room for; one more is told so, and gets in
// when one of them is gone.
func TestRWMutexProcessLimit(t *testing.T) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	var all []*proc.Process
	ctx, cancel := context.WithTimeout(bg, 6*hang)
	defer cancel()
	for range futex.MaxReaders {
		p, err := rwReadAndStay.Start(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for end := time.Now().Add(6 * hang); g.In.Load() < futex.MaxReaders; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d processes read, want %d", g.In.Load(), futex.MaxReaders)
		}
	}
	if err := g.Mu.RLock(); !errors.Is(err, unix.EAGAIN) || !strings.Contains(err.Error(), "64") {
		t.Errorf("one too many: %v", err)
	}
	if ok, err := g.Mu.TryRLock(); ok || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("one too many: %v, %v", ok, err)
	}
	excluded(t, &g.Mu, writing, "so many read")
	end(t, all[17])
	passes(t, &g.Mu, reading, nil)
	if slot, err := g.Mu.Slot(); err != nil || slot < 0 {
		t.Error(slot, err)
	}
	for i, p := range all {
		switch {
		case i == 17:
		case i%2 == 0:
			dismiss(t, p)
		default:
			end(t, p)
		}
	}
	passes(t, &g.Mu, writing, nil)
}

// A process that takes a dead one's slot, with the count that is there, while a
// writer waits for the dead one.
func TestRWMutexSlotOfTheDead(t *testing.T) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	for range 3 {
		p := startRW(t, rwReadAndStay, s)
		out := make(chan error)
		go func() { out <- g.Mu.LockContext(within(t)) }()
		until(t, "the gate closed", func() bool {
			ok, _ := g.Mu.TryRLock()
			if ok {
				g.Mu.RUnlock()
			}
			return !ok
		})
		end(t, p)
		q, err := rwReadAndStay.Start(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-out; err != nil {
			t.Fatal(err)
		}
		if n := g.Mu.Readers(); n > 1 { // the newcomer may be looking
			t.Errorf("%d readers beside a writer", n)
		}
		in := g.In.Load()
		if err := g.Mu.Unlock(); err != nil {
			t.Error(err)
		}
		until(t, "the newcomer in", func() bool { return g.In.Load() > in })
		excluded(t, &g.Mu, writing, "the newcomer reads")
		dismiss(t, q)
	}
}
