package futex

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// mustHave panics for a nil context. Who calls it has neither taken nor counted
// anything yet that others would then wait for.
func mustHave(ctx context.Context) {
	if ctx == nil {
		panic("futex: nil context")
	}
}

// A canceller ends one sleep when a context ends. Its word is private to the
// process: 0, then 1 once the context has ended.
//
// SYNC cancel: fire stores the word before it wakes, the sleeper's kernel call
// compares it with 0 before it sleeps; so either the sleeper sees the store or
// the wake sees the sleeper. No wake is lost between arm and sleep.
type canceller struct {
	word   atomic.Uint32
	shared *atomic.Uint32
	mask   uint32
	left   atomic.Bool // the sleeper is out of the kernel
	fired  chan struct{}
	run    func()
	stop   func() bool
}

// Cancellers are used again, so that a sleep with a context costs no more than
// what context.AfterFunc itself allocates.
var cancellers = sync.Pool{New: func() any {
	c := &canceller{fired: make(chan struct{}, 1)}
	c.run = c.fire
	return c
}}

func newCanceller(shared *atomic.Uint32, mask uint32) *canceller {
	c := cancellers.Get().(*canceller)
	c.shared, c.mask = shared, mask
	c.word.Store(0)
	c.left.Store(false)
	return c
}

func (c *canceller) arm(ctx context.Context) { c.stop = context.AfterFunc(ctx, c.run) }

// fire runs in a goroutine of its own. With futex_waitv one private wake is
// enough. Else all sleepers of the shared word are woken, again and again: the
// first wake may have come before the cancelled one slept.
func (c *canceller) fire() {
	c.word.Store(1)
	if c.mask == matchAny && haveWaitv() {
		futexWakePrivate(&c.word)
	} else {
		for pause := 50 * time.Microsecond; !c.left.Load(); pause = min(2*pause, time.Millisecond) {
			futexWake(c.shared, maxInt32, c.mask)
			time.Sleep(pause)
		}
	}
	c.fired <- struct{}{}
}

// release joins fire, if it has started, and gives the canceller back.
func (c *canceller) release() {
	c.left.Store(true)
	if !c.stop() {
		<-c.fired
	}
	c.shared, c.stop = nil, nil
	cancellers.Put(c)
}
