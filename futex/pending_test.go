package futex_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// What is remembered of a thread is not taken for another one's, which the
// runtime keeps at the same place: threads end here with their goroutines.
func TestNamedOnNewThreads(t *testing.T) {
	word := newShared[atomic.Uint32](t).Ptr()
	named := make(chan bool)
	for range times(100, 400, 2000) {
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
}

// Nor is it, if the list of the one that ended is a third one's by now, which has
// its id: with few ids to give, Linux gives each again soon.
func TestNamedOnThreadsOfOneID(t *testing.T) {
	word := newShared[atomic.Uint32](t).Ptr()
	for range times(25, 100, 500) {
		ended, later := make(chan int), make(chan bool)
		var third sync.WaitGroup
		go func() {
			runtime.LockOSThread()
			futex.Named(word)
			ended <- unix.Gettid()
		}()
		tid := <-ended
		until(t, "the first thread's end", func() bool {
			return unix.Tgkill(unix.Getpid(), tid, 0) == unix.ESRCH
		})
		stay := make(chan struct{})
		third.Go(func() {
			runtime.LockOSThread()
			futex.HeadOf(tid)
			later <- futex.Named(word)
			<-stay
		})
		ok := <-later
		runtime.GC() // gives the first one's place free
		for range 4 {
			third.Go(func() {
				runtime.LockOSThread()
				later <- futex.Named(word)
				<-stay
			})
		}
		for range 4 {
			ok = <-later && ok
		}
		close(stay)
		third.Wait()
		if !ok {
			t.Fatal("a word is named in another list than the thread's")
		}
	}
}
