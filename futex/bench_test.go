package futex_test

import (
	"sync"
	"testing"

	"github.com/rawipc/rawipc/futex"
)

// The lock beside its twin in the standard library, which serves one process.
func BenchmarkLock(b *testing.B) {
	for _, l := range []struct {
		name string
		mu   sync.Locker
	}{
		{"futex.Mutex", new(futex.Mutex)},
		{"futex.RobustMutex", robustLocker{&newShared[guarded](b).Ptr().Mu}},
		{"sync.Mutex", new(sync.Mutex)},
	} {
		b.Run("lock="+l.name+"/contended=no", func(b *testing.B) {
			for b.Loop() {
				l.mu.Lock()
				l.mu.Unlock() //lint:ignore SA2001 the section is empty so that only the lock counts
			}
		})
		b.Run("lock="+l.name+"/contended=yes", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l.mu.Lock()
					l.mu.Unlock() //lint:ignore SA2001 as above
				}
			})
		})
	}
}

type robustLocker struct{ m *futex.RobustMutex }

func (l robustLocker) Lock() {
	if err := l.m.Lock(); err != nil {
		panic(err)
	}
}

func (l robustLocker) Unlock() {
	if err := l.m.Unlock(); err != nil {
		panic(err)
	}
}

func BenchmarkSemaphore(b *testing.B) {
	s := newShared[futex.Semaphore](b).Ptr()
	for b.Loop() {
		if err := s.Release(); err != nil {
			b.Fatal(err)
		}
		if err := s.Acquire(bg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRWMutex is the path of a lock that nobody else uses. Reading is two
// locked instructions, as in C; what is left is to find the process's slot.
func BenchmarkRWMutex(b *testing.B) {
	m := newShared[futex.RWMutex](b).Ptr()
	b.Run("for=reading", func(b *testing.B) {
		for b.Loop() {
			m.RLock()
			m.RUnlock()
		}
	})
	b.Run("for=writing", func(b *testing.B) {
		for b.Loop() {
			m.Lock()
			m.Unlock()
		}
	})
}
