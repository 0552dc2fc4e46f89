package mq_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/mq"
)

// One has the turn at a time, and it is never lost, however many give up
// waiting for it, be it at the moment when it is handed to them.
func TestTurn(t *testing.T) {
	for _, goroutines := range []int{2, 3, 16} {
		t.Run(fmt.Sprint(goroutines), func(t *testing.T) { takeTurns(t, goroutines) })
	}
}

func takeTurns(t *testing.T, goroutines int) {
	turn := mq.NewTurn()
	rounds := 16_000 / goroutines
	if testing.Short() || raceEnabled {
		rounds /= 4
	}
	var inside, got, gaveUp atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				ctx, cancel := context.WithTimeout(bg, time.Duration(rand.IntN(50))*time.Microsecond)
				err := turn.Enter(ctx)
				if err == nil {
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d have the turn", n)
					}
					for range rand.IntN(200) {
						_ = inside.Load()
					}
					inside.Add(-1)
					got.Add(1)
					turn.Leave()
				} else {
					gaveUp.Add(1)
				}
				cancel()
			}
		})
	}
	within(t, "taking turns", wg.Wait)
	if got.Load() == 0 || got.Load()+gaveUp.Load() != int64(goroutines*rounds) {
		t.Errorf("%d had the turn, %d gave up", got.Load(), gaveUp.Load())
	}
	if !turn.TryEnter() {
		t.Error("nobody is left, and the turn is taken")
	}
	if turn.TryEnter() {
		t.Error("two have the turn")
	}
}

// inSelect counts the goroutines that are parked in a select below a function: they
// are in their channels' queues then.
func inSelect(function string) (n int) {
	all := make([]byte, 1<<20)
	for one := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		head, frames, _ := strings.Cut(one, "\n")
		if strings.Contains(head, "[select") && strings.Contains(frames, function) {
			n++
		}
	}
	return n
}

// Those who wait get it in the order in which they came, and who gives it up
// doesn't take it again before them.
func TestTurnsInOrder(t *testing.T) {
	turn := mq.NewTurn()
	must(t, turn.Enter(bg))
	const waiters = 10
	order := make(chan int, waiters+1)
	var wg sync.WaitGroup
	for i := range waiters {
		wg.Go(func() {
			must(t, turn.Enter(bg))
			order <- i
			turn.Leave()
		})
		// When it is counted it may not be in the channel yet: the order is given
		// only to those who are there.
		within(t, "getting in line", func() {
			for inSelect("TestTurnsInOrder.func1(") != i+1 {
				time.Sleep(10 * time.Microsecond)
			}
		})
	}
	turn.Leave()
	within(t, "entering again", func() { must(t, turn.Enter(bg)) })
	order <- waiters
	turn.Leave()
	wg.Wait()
	close(order)
	next := 0
	for i := range order {
		if i != next {
			t.Fatalf("waiter %d came in place of %d", i, next)
		}
		next++
	}
}
