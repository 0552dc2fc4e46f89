package mq

import (
	"context"
	"sync/atomic"
)

// A turn is a lock whose waiters can be cancelled. They get it in the order in
// which they came.
//
// Who leaves it with others waiting hands it over: it stays taken, one waiter
// less is counted, and there is a word in pass for one of them. A waiter that
// gives up takes its own count back; if none is left to take, the word in pass
// is meant for it.
type turn struct {
	state atomic.Int32  // 1: taken; and 2 for each who waits
	pass  chan struct{} // has room for one
}

const (
	taken  = 1
	waiter = 2
)

// tryEnter takes the turn if nobody has it.
func (t *turn) tryEnter() bool { return t.state.CompareAndSwap(0, taken) }

// enter waits for the turn.
func (t *turn) enter(ctx context.Context) error {
	if t.tryEnter() {
		return nil
	}
	return t.waitTurn(ctx)
}

func (t *turn) waitTurn(ctx context.Context) error {
	for {
		s := t.state.Load()
		if s == 0 && t.tryEnter() {
			return nil
		}
		if s != 0 && t.state.CompareAndSwap(s, s+waiter) {
			break
		}
	}
	select {
	case <-t.pass:
		return nil
	case <-ctx.Done():
	}
	for {
		s := t.state.Load()
		if s < waiter {
			<-t.pass
			t.leave()
			return ctx.Err()
		}
		if t.state.CompareAndSwap(s, s-waiter) {
			return ctx.Err()
		}
	}
}

// leave passes the turn on.
func (t *turn) leave() {
	for {
		s := t.state.Load()
		if s == taken && t.state.CompareAndSwap(taken, 0) {
			return
		}
		if s > taken && t.state.CompareAndSwap(s, s-waiter) {
			t.pass <- struct{}{}
			return
		}
	}
}
