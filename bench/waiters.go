package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// crowd is N sleepers on one word.
type crowd struct {
	Parts *shm.Shared[parts]
	N     int
}

// sleepers is a process with N threads that sleep on the word. They take every
// wake for a spurious one, so their number stays.
var sleepers = proc.Register("bench.sleepers", func(ctx context.Context, c crowd) error {
	debug.SetMaxThreads(c.N + 100)
	p := c.Parts.Ptr()
	for range c.N {
		go func() { // ends with the process
			p.Ready.Add(1)
			for {
				futex.Wait(&p.Word, 0)
			}
		}()
	}
	<-ctx.Done()
	return nil
})

// wakeAmong is the time of a Wake of one while n sleep on the word.
func wakeAmong(ctx context.Context, n int) (float64, error) {
	p, err := newParts(1)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	const most = 2500 // threads of a process
	for left := n; left > 0; left -= most {
		child, err := sleepers.StartCmd(ctx, &proc.Cmd{WaitDelay: time.Millisecond}, crowd{p, min(left, most)})
		if err != nil {
			return 0, err
		}
		defer func() {
			child.Kill()
			child.Wait(context.Background())
			child.Release()
		}()
	}
	if err := awaitCount(ctx, &p.Ptr().Ready, uint32(n)); err != nil {
		return 0, err
	}
	time.Sleep(20 * time.Millisecond) // the last ones are on their way to sleep
	const wakes = 50
	var took [wakes]float64
	for i, tries := 0, 0; i < wakes; tries++ {
		if tries == 100*wakes {
			return 0, fmt.Errorf("bench: %d of %d wakes found one asleep", i, tries)
		}
		start := time.Now()
		woken, err := futex.Wake(&p.Ptr().Word, 1)
		took[i] = float64(time.Since(start))
		if err != nil {
			return 0, err
		}
		i += woken                         // one that found nobody asleep doesn't count
		time.Sleep(200 * time.Microsecond) // it goes back to sleep
	}
	return middle(took[:]), nil
}

// awaitCount waits until so many threads are there; starting a thread has no
// word to sleep on.
func awaitCount(ctx context.Context, count *atomic.Uint32, n uint32) error {
	for count.Load() < n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("bench: %d of %d threads: %w", count.Load(), n, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
