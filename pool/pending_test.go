package pool_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pool"
)

// A wait for a call that ends early ends nothing else: who waits again gets the
// result, and so does everybody who comes later.
func TestPendingWait(t *testing.T) {
	p := newPool(t, 1)
	gate, open := newGate(t)
	c := gated.Go(within(t), p, gate)
	soon, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	if pid, err := c.Wait(soon); err != context.DeadlineExceeded || pid != 0 {
		t.Errorf("a wait of 1 ms: %d, %v", pid, err)
	}
	select {
	case <-c.Done():
		t.Error("the call is over")
	default:
	}
	open()
	pid, err := c.Wait(within(t))
	if err != nil || pid == 0 || pid == os.Getpid() {
		t.Errorf("the second wait: %d, %v", pid, err)
	}
	if again, err := c.Wait(soon); err != nil || again != pid {
		t.Errorf("a wait that is over for a call that is over: %d, %v", again, err)
	}
	// A worker whose answer gob can't encode says so, and goes on to its end in
	// good order.
	q, err := pool.New(&pool.Config{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := noGob.Call(within(t), q, 1); err == nil {
		t.Error("a func travelled")
	}
	if err := q.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
}
