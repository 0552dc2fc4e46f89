package futex_test

import (
	"errors"
	"math/bits"
	"sync"
	"testing"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// Of several goroutines that declare one memory at a time one does, and the
// others are told.
func TestAttachAtOnce(t *testing.T) {
	if bits.UintSize != 64 {
		t.Skip("Attach needs 64 bits")
	}
	f, mem := mapFile(t, 4096, 4096)
	for range times(50, 200, 2000) {
		var got [4]*futex.Region
		var errs [len(got)]error
		var start sync.WaitGroup
		var all sync.WaitGroup
		start.Add(1)
		for i := range got {
			all.Go(func() {
				start.Wait()
				got[i], errs[i] = futex.Attach(mem, f)
			})
		}
		start.Done()
		all.Wait()
		n := 0
		for i, r := range got {
			if r == nil {
				if !errors.Is(errs[i], unix.EEXIST) {
					t.Errorf("refused with %v, want EEXIST", errs[i])
				}
				continue
			}
			n++
			if err := r.Detach(); err != nil {
				t.Error(err)
			}
		}
		if n != 1 {
			t.Fatalf("%d have declared the same memory, want 1", n)
		}
	}
}
