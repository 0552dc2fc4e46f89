package shm_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Signals end no call, and who called hears nothing of them. Many kernels give up
// an allocation for one: these are large enough to be met.
func TestSignals(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, tid := os.Getpid(), unix.Gettid()
	stop := make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond):
				unix.Tgkill(pid, tid, unix.SIGURG) // the runtime's own, without effect
			}
		}
	})
	defer storm.Wait()
	defer close(stop)
	name := newName(t)
	for range 20 {
		o, err := shm.Create(name, 4<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, opened := shm.Open(name, nil)
		if opened == nil {
			opened = again.Close()
		}
		if err := errors.Join(opened, o.Grow(8<<20), o.Close(), shm.Unlink(name)); err != nil {
			t.Fatal(err)
		}
	}
}
