package futex_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

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
