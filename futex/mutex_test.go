package futex_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
)

func contains(s, sub string) bool { return strings.Contains(s, sub) }

func TestMutexExcludes(t *testing.T) {
	var m futex.Mutex
	const workers = 8
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	count := 0 // -race vouches for the edges
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				m.Lock()
				count++
				m.Unlock()
			}
		})
	}
	all.Wait()
	if count != workers*rounds {
		t.Errorf("%d, want %d", count, workers*rounds)
	}
}

func TestCase063TryLock(t *testing.T) {
	var m futex.Mutex
	if !m.TryLock() {
		t.Error("free, and not locked")
	}
	if m.TryLock() {
		t.Error("locked twice")
	}
	m.Unlock()
	if !m.TryLock() {
		t.Error("free again, and not locked")
	}
}

func TestMutexUnlockOfUnlocked(t *testing.T) {
	defer func() {
		if s, _ := recover().(string); !contains(s, "futex: Unlock of an unlocked Mutex") {
			t.Errorf("panic %q", s)
		}
	}()
	var m futex.Mutex
	m.Unlock()
}

func TestMutexCancel(t *testing.T) {
	var m futex.Mutex
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := m.LockContext(ctx); err != nil {
		t.Errorf("free, with an ended context: %v", err)
	}
	if err := m.LockContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("held, with an ended context: %v", err)
	}
	// Many wait, each leaves alone, the last gets the lock.
	const n = 50
	errs := make(chan error, n)
	var cancels []context.CancelFunc
	for range n {
		ctx, cancel := context.WithCancel(bg)
		cancels = append(cancels, cancel)
		go func() { errs <- m.LockContext(ctx) }()
	}
	got := make(chan error, 1)
	go func() { got <- m.LockContext(canceller(t)) }()
	for _, cancel := range cancels {
		cancel()
	}
	for range n {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	m.Unlock()
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(hang):
		t.Fatal("the one that stayed never got the lock")
	}
}

// Cancellation against Unlock at a random moment: the lock is never lost.
func TestMutexCancelAgainstUnlock(t *testing.T) {
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	var m futex.Mutex
	for range rounds {
		m.Lock()
		ctx, cancel := context.WithCancel(bg)
		done := make(chan error, 2)
		for range 2 {
			go func() {
				err := m.LockContext(ctx)
				if err == nil {
					m.Unlock()
				}
				done <- err
			}()
		}
		go cancel()
		m.Unlock()
		<-done
		<-done
		if !m.TryLock() {
			t.Fatal("the lock is lost")
		}
		m.Unlock()
		cancel()
	}
}
