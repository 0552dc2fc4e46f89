package fuzz_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/rawipc/rawipc/fuzz"
)

// A journal of one slot: readers take the entry only when its number is set,
// and the writer sets that last.
type journal struct {
	number, entry atomic.Uint64
}

func (j *journal) write(n uint64) {
	j.entry.Store(n * n)
	j.number.Store(n)
}

func (j *journal) check() error {
	if n := j.number.Load(); n != 0 && j.entry.Load() != n*n {
		return fmt.Errorf("entry %d is %d", n, j.entry.Load())
	}
	return nil
}

// The operation is registered in a package variable, so that helper processes
// know it too. TestMain is fuzz.Main.
var write = fuzz.RegisterOp("journal/write", 64, func(s *fuzz.Segment) fuzz.Op {
	j := (*journal)(unsafe.Pointer(&s.Mem[0]))
	return fuzz.Op{
		Do:    func() error { j.write(7); return nil },
		Check: func(died bool) error { return j.check() },
		Casts: []fuzz.Cast{{Name: "nobody"}, {Name: "reader", Peers: []fuzz.Peer{{
			Name: "reader",
			When: fuzz.AtPoint, // while the writer stands at the point
			Run: func(c *fuzz.Cue) error {
				err := j.check()
				c.Ready() // and now the writer may die
				return err
			},
		}}}},
	}
})

// The writer of a journal is killed by SIGKILL at each instruction of write,
// and no reader ever sees an entry that is not whole.
func ExampleKillEach() {
	_ = func(t *testing.T) { // in your package: func TestWriteKilled
		fuzz.KillEach(t, write, &fuzz.Options{
			Packages: []string{"github.com/rawipc/rawipc/fuzz_test"}, // where write is
			Points:   "all",
		})
	}
}
