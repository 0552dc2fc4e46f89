package futex_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/futex"
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
