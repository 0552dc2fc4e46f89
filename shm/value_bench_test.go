package shm_test

import (
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/shm"
)

// point is a value that takes more than a word.
type point struct{ X, Y, Z float64 }

func newValue[T any](t testing.TB, x T) *shm.Value[T] {
	t.Helper()
	v, err := shm.NewValue(x)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func newArray[T any](t testing.TB, xs ...T) *shm.Array[T] {
	t.Helper()
	a, err := shm.NewArray(xs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// Values that nobody else uses, beside their twins of sync/atomic. See
// TestPeerValue for Python's.
func BenchmarkValue(b *testing.B) {
	n, p, f := newValue(b, int64(1)), newValue(b, point{1, 2, 3}), newValue(b, 1.5)
	n32 := newValue(b, int32(1))
	a := newArray(b, make([]int64, 100)...)
	var std atomic.Int64
	var sum int64
	var sums point
	b.Run("op=Load/of=int64", func(b *testing.B) {
		for b.Loop() {
			sum += n.Load()
		}
	})
	b.Run("op=Load/of=24B", func(b *testing.B) {
		for b.Loop() {
			sums = p.Load()
		}
	})
	b.Run("op=Load/of=atomic.Int64", func(b *testing.B) {
		for b.Loop() {
			sum += std.Load()
		}
	})
	b.Run("op=Store/of=int64", func(b *testing.B) {
		for b.Loop() {
			n.Store(3)
		}
	})
	b.Run("op=Store/of=24B", func(b *testing.B) {
		for b.Loop() {
			p.Store(sums)
		}
	})
	b.Run("op=Store/of=atomic.Int64", func(b *testing.B) {
		for b.Loop() {
			std.Store(3)
		}
	})
	b.Run("op=Add/of=int64", func(b *testing.B) {
		for b.Loop() {
			shm.Add(n, 1)
		}
	})
	b.Run("op=Add/of=int32", func(b *testing.B) {
		for b.Loop() {
			shm.Add(n32, 1)
		}
	})
	b.Run("op=Add/of=float64", func(b *testing.B) {
		for b.Loop() {
			shm.Add(f, 1)
		}
	})
	b.Run("op=Add/of=atomic.Int64", func(b *testing.B) {
		for b.Loop() {
			std.Add(1)
		}
	})
	b.Run("op=Update/of=int64", func(b *testing.B) {
		for b.Loop() {
			n.Update(func(x *int64) error { *x++; return nil })
		}
	})
	b.Run("op=Update/of=24B", func(b *testing.B) {
		for b.Loop() {
			p.Update(func(x *point) error { x.X++; return nil })
		}
	})
	b.Run("op=Array.Load/of=int64", func(b *testing.B) {
		for b.Loop() {
			a.Load(7)
		}
	})
	b.Run("op=Array.Store/of=int64", func(b *testing.B) {
		for b.Loop() {
			a.Store(7, 7)
		}
	})
	b.Run("op=Array.Update/of=100×int64", func(b *testing.B) {
		for b.Loop() {
			a.Update(func(xs []int64) error { xs[7]++; return nil })
		}
	})
}
