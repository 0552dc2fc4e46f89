package shm_test

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Close while others call, again and again: it fails with EBUSY or succeeds, and
// nobody touches memory that is gone or gets another error than os.ErrClosed.
// Two goroutines an end, so that calls with a seat and calls without meet.
func TestQueueCloseAmongCalls(t *testing.T) {
	rounds, calls := 150, 30
	if testing.Short() {
		rounds = 30
	}
	busy, before := 0, 0
	for range rounds {
		q, err := shm.NewQueue[uint64](4)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var done atomic.Int32
		for i := range 4 {
			all.Go(func() {
				for range calls {
					var err error
					if i%2 == 0 {
						err = q.Send(bg, 1)
					} else {
						_, err = q.Recv(bg)
					}
					if errors.Is(err, os.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
					}
					done.Add(1)
				}
			})
		}
		for done.Load() == 0 {
			runtime.Gosched()
		}
		for err = unix.EBUSY; errors.Is(err, unix.EBUSY); busy++ {
			err = q.Close()
			runtime.Gosched()
		}
		if err != nil {
			t.Error(err)
		}
		busy--
		all.Wait()
		if done.Load() < int32(4*calls) {
			before++
		}
	}
	t.Logf("%d rounds, Close was busy %d times, and came before the last call in %d", rounds, busy, before)
}
