package futex_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"
)

// A word of memory, one who waits for it to change, and one who changes it.
// The two could be processes that map the word's page.
func ExampleWait() {
	var ready atomic.Uint32
	go func() {
		ready.Store(1)
		futex.Wake(&ready, futex.All)
	}()
	for ready.Load() == 0 { // a wake may be spurious: look again
		if err := futex.Wait(&ready, 0); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("ready")
	// Output: ready
}

// A lock that somebody else holds is waited for as long as the context lasts.
func ExampleMutex_LockContext() {
	var m futex.Mutex
	m.Lock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err := m.LockContext(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	m.Unlock()
	fmt.Println(m.LockContext(context.Background()))
	// Output:
	// true
	// <nil>
}
