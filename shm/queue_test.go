package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Each message arrives once, and those of one producer in order.
func TestCase204ExactlyOnce(t *testing.T) {
	n := 250_000
	if testing.Short() || raceEnabled {
		n = 20_000
	}
	for _, test := range []struct{ producers, consumers, capacity, batch int }{
		{1, 1, 1024, 0}, {2, 2, 1024, 0}, {4, 3, 7, 0}, {3, 2, 1, 0}, {2, 2, 256, 32}, {2, 3, 5, 32},
	} {
		n := n
		if test.capacity < 100 {
			n /= 50
		}
		name := fmt.Sprintf("%dx%d,%d,%d", test.producers, test.consumers, test.capacity, test.batch)
		t.Run(name, func(t *testing.T) {
			ctx := watchdog(t, 2*time.Minute)
			q := newQueue[item](t, test.capacity)
			got, err := shm.NewArray(make([]uint64, 2*test.producers))
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			var ps, cs []*proc.Process
			for range test.consumers {
				cs = append(cs, started(t)(consume.Start(ctx, consumeArgs{q, got, test.batch})))
			}
			start := time.Now()
			for p := range test.producers {
				ps = append(ps, started(t)(produce.Start(ctx, produceArgs{q, uint32(p), n, test.batch})))
			}
			for _, p := range ps {
				if _, err := p.Wait(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.CloseSend(); err != nil {
				t.Fatal(err)
			}
			for _, c := range cs {
				if _, err := c.Wait(ctx); err != nil {
					t.Fatal(err)
				}
			}
			total := n * test.producers
			t.Logf("%d messages, %v each", total, time.Since(start)/time.Duration(total))
			for p := range test.producers {
				count, err := got.Load(p)
				sum, err2 := got.Load(test.producers + p)
				if want := uint64(n) * uint64(n-1) / 2; count != uint64(n) || sum != want || err != nil || err2 != nil {
					t.Errorf("producer %d: %d messages that sum to %d, want %d, %d", p, count, sum, n, want)
				}
			}
		})
	}
}

var filler = proc.Register("shm_test/fill", func(ctx context.Context, q *shm.Queue[int]) error {
	for i := 0; ; i++ {
		if err := q.Send(ctx, i); err != nil {
			return err
		}
	}
})

func TestCase205FullAndEmpty(t *testing.T) {
	q := newQueue[int](t, 3)
	if _, ok, err := q.TryRecv(); ok || err != nil {
		t.Errorf("TryRecv of nothing: %t, %v", ok, err)
	}
	for i := range 3 {
		if ok, err := q.TrySend(i); !ok || err != nil || q.Len() != i+1 {
			t.Errorf("TrySend %d: %t, %v, Len %d", i, ok, err, q.Len())
		}
	}
	if ok, err := q.TrySend(3); ok || err != nil || q.Len() != 3 || q.Cap() != 3 {
		t.Errorf("TrySend to a full queue: %t, %v, Len %d, Cap %d", ok, err, q.Len(), q.Cap())
	}
	const d = 20 * time.Millisecond
	for name, call := range map[string]func(context.Context) error{
		"Send":      func(ctx context.Context) error { return q.Send(ctx, 9) },
		"SendBatch": func(ctx context.Context) error { _, err := q.SendBatch(ctx, []int{9}); return err },
		"Recv":      func(ctx context.Context) error { _, err := q.Recv(ctx); return err },
		"RecvBatch": func(ctx context.Context) error { _, err := q.RecvBatch(ctx, make([]int, 2)); return err },
	} {
		if name[0] == 'R' {
			for q.Len() > 0 {
				q.TryRecv()
			}
		} else {
			for q.Len() < q.Cap() {
				q.TrySend(0)
			}
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) < d {
			t.Errorf("%s: %v after %v, want the deadline's error after %v", name, err, time.Since(start), d)
		}
		cancel()
	}
	for q.Len() > 0 {
		q.TryRecv()
	}
	for range 2 { // the timeouts have taken nothing
		if err := q.Send(watchdog(t, time.Minute), 5); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := q.Recv(watchdog(t, time.Minute)); v != 5 || err != nil || q.Len() != 1 {
		t.Errorf("Recv: %d, %v, Len %d", v, err, q.Len())
	}
}

func TestCase206Capacity(t *testing.T) {
	for _, capacity := range []int{0, -1, math.MaxInt} {
		if q, err := shm.NewQueue[[64]byte](capacity); !errors.Is(err, unix.EINVAL) {
			t.Errorf("NewQueue(%d): %v, %v", capacity, q, err)
		}
	}
	if _, err := shm.NewQueue[*int](1); err == nil {
		t.Error("a queue of pointers")
	}
	q := newQueue[struct{}](t, 5) // messages without bytes are counted
	for range 5 {
		if err := q.Send(t.Context(), struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := q.TrySend(struct{}{}); ok || err != nil || q.Len() != 5 {
		t.Errorf("TrySend: %t, %v, Len %d", ok, err, q.Len())
	}
	// A batch of more than the queue holds goes in parts.
	p := newQueue[int](t, 4)
	done := make(chan error, 1)
	go func() {
		n, err := p.SendBatch(watchdog(t, time.Minute), []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
		if err == nil && n != 10 {
			err = fmt.Errorf("%d sent", n)
		}
		done <- err
	}()
	for i := range 10 {
		if v, err := p.Recv(watchdog(t, time.Minute)); v != i || err != nil {
			t.Fatalf("Recv: %d, %v, want %d", v, err, i)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCase207Wrap(t *testing.T) {
	for _, start := range []uint64{1<<32 - 3, 1<<64 - 3} {
		q := newQueue[uint64](t, 4)
		q.Preset(start)
		for i := range uint64(100) {
			for k := range 1 + i%4 {
				if ok, err := q.TrySend(i + k); !ok || err != nil {
					t.Fatalf("from %#x on, %d: TrySend: %t, %v", start, i, ok, err)
				}
			}
			if n := q.Len(); n != int(1+i%4) {
				t.Fatalf("from %#x on, %d: Len %d", start, i, n)
			}
			for k := range 1 + i%4 {
				if v, ok, err := q.TryRecv(); v != i+k || !ok || err != nil {
					t.Fatalf("from %#x on, %d: TryRecv: %d, %t, %v", start, i+k, v, ok, err)
				}
				if err := q.Done(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := q.Join(watchdog(t, time.Minute)); err != nil {
			t.Error(err)
		}
	}
}

func TestCase208CloseSend(t *testing.T) {
	ctx := watchdog(t, time.Minute)
	q := newQueue[int](t, 2)
	p := started(t)(filler.Start(ctx, q)) // it fills the queue, and waits for room
	for q.Len() < 2 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	waiting := make(chan error)
	empty := newQueue[int](t, 2)
	go func() { _, err := empty.Recv(ctx); waiting <- err }()
	time.Sleep(10 * time.Millisecond)
	for range 2 {
		if err := q.CloseSend(); err != nil {
			t.Fatal(err)
		}
	}
	if err := empty.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != io.EOF {
		t.Errorf("Recv that waited: %v, want EOF", err)
	}
	var exit *proc.ExitError
	if _, err := p.Wait(ctx); !errors.As(err, &exit) || !strings.Contains(err.Error(), os.ErrClosed.Error()) {
		t.Errorf("a sender that waited: %v, want its %v", err, os.ErrClosed)
	}
	if err := q.Send(ctx, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	if ok, err := q.TrySend(1); ok || !errors.Is(err, os.ErrClosed) {
		t.Errorf("TrySend: %t, %v", ok, err)
	}
	var got []int
	for v, err := range q.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	if !slices.Equal(got, []int{0, 1}) {
		t.Errorf("after CloseSend there came %d, want 0 and 1", got)
	}
	if _, err := q.Recv(ctx); err != io.EOF {
		t.Errorf("Recv: %v, want EOF", err)
	}
	if _, ok, err := q.TryRecv(); ok || err != io.EOF {
		t.Errorf("TryRecv: %t, %v, want EOF", ok, err)
	}
}

// After Close there is only os.ErrClosed; Close does not pull the memory away
// from under a call.
func TestQueueClose(t *testing.T) {
	q, err := shm.NewQueue[int](1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(watchdog(t, time.Minute))
	ended := make(chan error)
	go func() { _, err := q.Recv(ctx); ended <- err }()
	asleepIn(t, q.ReceiverSleeps)
	if err := q.Close(); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("Close while a call is under way: %v", err)
	}
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("Recv: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	_, recv := q.Recv(ctx)
	_, _, try := q.TryRecv()
	for i, err := range []error{q.Close(), q.Send(ctx, 1), recv, try, q.CloseSend(), q.Done(), q.Join(ctx)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("call %d after Close: %v", i, err)
		}
	}
	if n := q.Len(); n != 0 {
		t.Errorf("Len after Close: %d", n)
	}
}

func TestCase209DoneAndJoin(t *testing.T) {
	ctx := watchdog(t, time.Minute)
	q := newQueue[int](t, 8)
	if err := q.Join(ctx); err != nil {
		t.Errorf("Join of nothing: %v", err)
	}
	for i := range 5 {
		if err := q.Send(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Done(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Done before anything was received: %v", err)
	}
	joined := make(chan error, 2)
	for range 2 {
		go func() { joined <- q.Join(ctx) }()
	}
	for i := range 5 {
		select {
		case err := <-joined:
			t.Fatalf("Join returned (%v) with %d of 5 done", err, i)
		case <-time.After(5 * time.Millisecond):
		}
		if _, err := q.Recv(ctx); err != nil {
			t.Fatal(err)
		}
		if err := q.Done(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := <-joined; err != nil {
			t.Errorf("Join: %v", err)
		}
	}
	if err := q.Done(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Done once too often: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	q.TrySend(1)
	if err := q.Join(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Join under a deadline: %v", err)
	}
}

// Nobody receives any more: a sender's time runs out, and the others go on when
// somebody comes again.
func TestCase212NobodyReceives(t *testing.T) {
	ctx := watchdog(t, time.Minute)
	q := newQueue[int](t, 1)
	p := started(t)(sink.Start(ctx, q))
	for i := range 3 {
		if err := q.Send(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait(ctx)
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	for {
		err := q.Send(short, 3)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	p = started(t)(sink.Start(ctx, q))
	if err := q.Send(ctx, 4); err != nil {
		t.Errorf("Send to a new receiver: %v", err)
	}
	p.Kill()
	p.Wait(ctx)
}

var sink = proc.Register("shm_test/sink", func(ctx context.Context, q *shm.Queue[int]) error {
	for {
		if _, err := q.Recv(context.Background()); err != nil {
			return err
		}
	}
})

func TestQueueAllocations(t *testing.T) {
	q := newQueue[[4]int](t, 4)
	ctx, buf := context.Background(), make([][4]int, 2)
	if n := testing.AllocsPerRun(100, func() {
		q.Send(ctx, [4]int{})
		q.Recv(ctx)
		q.TrySend([4]int{})
		q.TryRecv()
		q.SendBatch(ctx, buf)
		q.RecvBatch(ctx, buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
