package futex_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/futex"
)

// What is remembered of a thread is not taken for another one's, which the
// runtime keeps at the same place: threads end here with their goroutines.
func TestNamedOnNewThreads(t *testing.T) {
	if !futex.Told() {
		t.Skip("the kernel is not told what threads sleep on")
	}
	word := newShared[atomic.Uint32](t).Ptr()
	named := make(chan bool)
	for range times(50, 150, 2000) {
		for range 4 {
			go func() {
				runtime.LockOSThread()
				first := futex.Named(word)
				named <- futex.Named(word) && first
			}()
		}
		for range 4 {
			if !<-named {
				t.Fatal("a word is named in another list than the thread's")
			}
		}
		runtime.GC() // gives the place free
	}
	if n := futex.Heads(); n > 200 {
		t.Errorf("%d lists: those of threads that ended are not given again", n)
	}
}
