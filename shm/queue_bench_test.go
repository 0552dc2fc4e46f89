package shm_test

import (
	"testing"

	"github.com/rawipc/rawipc/shm"
)

// One goroutine sends and receives: the cost of the queue's own instructions.
func BenchmarkQueue(b *testing.B) {
	q, err := shm.NewQueue[message](64)
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Send(bg, message{1}); err != nil {
			b.Fatal(err)
		}
		if v, err := q.Recv(bg); err != nil || v[0] != 1 {
			b.Fatal(v, err)
		}
	}
}
