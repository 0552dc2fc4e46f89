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
	}{{"futex.Mutex", new(futex.Mutex)}, {"sync.Mutex", new(sync.Mutex)}} {
		b.Run("lock="+l.name+"/contended=no", func(b *testing.B) {
			for b.Loop() {
				l.mu.Lock()
				l.mu.Unlock()
			}
		})
		b.Run("lock="+l.name+"/contended=yes", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l.mu.Lock()
					l.mu.Unlock()
				}
			})
		})
	}
}
