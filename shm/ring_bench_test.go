package shm_test

import (
	"fmt"
	"testing"
)

// One goroutine sends and receives: the cost of the ring's own instructions.
func BenchmarkRing(b *testing.B) {
	for _, size := range []int{8, 64, 1024, 64 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			w, r := newRing(b, max(4096, 8*size))
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Send(bg, buf); err != nil {
					b.Fatal(err)
				}
				if _, err := r.Recv(bg, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
