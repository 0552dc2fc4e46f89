package shm_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

func sendRecv(t *testing.T, from, to *shm.Queue[uint64], n uint64) {
	t.Helper()
	ctx := watchdog(t, 10*time.Second)
	if err := from.Send(ctx, n); err != nil {
		t.Fatal(err)
	}
	if got, err := to.Recv(ctx); got != n || err != nil {
		t.Fatalf("Recv: %d, %v, want %d", got, err, n)
	}
}

func wantAlone(t *testing.T, q *shm.Queue[uint64], sending, receiving bool) {
	t.Helper()
	if s, r := q.Alone(0), q.Alone(1); s != sending || r != receiving {
		t.Fatalf("alone at the sending end: %t, at the receiving end: %t; want %t, %t", s, r, sending, receiving)
	}
}

// The first other member that wants an end gets it, and then both use the lock.
func TestAloneUntilAsked(t *testing.T) {
	a := aloneAt(t, 4)
	b := anew(t, a)
	sendRecv(t, b, a, 10)
	sendRecv(t, a, a, 11)
	wantAlone(t, a, false, true)
	sendRecv(t, a, b, 12)
	sendRecv(t, a, a, 13)
	sendRecv(t, b, b, 14)
	wantAlone(t, a, false, false)
	wantAlone(t, b, false, false)
}

// Who closes the queue leaves its ends to the next one.
func TestAloneAfterAnother(t *testing.T) {
	a := aloneAt(t, 4)
	b := anew(t, a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(2) {
		sendRecv(t, b, b, n)
	}
	wantAlone(t, b, true, true)
}

// A second goroutine of the process counts as another.
func TestAloneAmongGoroutines(t *testing.T) {
	q := aloneAt(t, 4)
	got, sum := make(chan uint64), uint64(0)
	var senders sync.WaitGroup
	const each = 2000
	for range 3 {
		senders.Go(func() {
			for n := range uint64(each) {
				if err := q.Send(bg, n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		go func() {
			sum := uint64(0)
			for range each {
				n, err := q.Recv(bg)
				if err != nil {
					t.Error(err)
				}
				sum += n
			}
			got <- sum
		}()
	}
	senders.Wait()
	for range 3 {
		sum += <-got
	}
	if want := uint64(3 * each * (each - 1) / 2); sum != want {
		t.Errorf("the sum is %d, want %d", sum, want)
	}
}

// A call that asks for an end which another one sleeps in ends with its context,
// and the other one is not disturbed.
func TestAskGivesUp(t *testing.T) {
	a := aloneAt(t, 4)
	b := anew(t, a)
	b.Len()
	first := make(chan uint64)
	go func() {
		n, err := a.Recv(bg)
		if err != nil {
			t.Error(err)
		}
		first <- n
	}()
	for range 3 {
		asleepIn(t, a.ReceiverSleeps)
		short, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		if n, err := b.Recv(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Recv: %d, %v", n, err)
		}
		cancel()
		if n, ok, err := b.TryRecv(); ok || err != nil {
			t.Fatalf("TryRecv: %d, %t, %v", n, ok, err)
		}
	}
	wantAlone(t, a, true, false)
	for n := range uint64(2) {
		if err := a.Send(bg, 7+n); err != nil {
			t.Fatal(err)
		}
	}
	if n := <-first; n != 7 {
		t.Errorf("the first one got %d, want 7", n)
	}
	if n, err := b.Recv(watchdog(t, 10*time.Second)); n != 8 || err != nil {
		t.Errorf("Recv: %d, %v, want 8", n, err)
	}
	wantAlone(t, a, true, false)
}

// asleepIn waits until somebody sleeps.
func asleepIn(t *testing.T, sleeps func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !sleeps(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody sleeps")
		}
	}
}

// Where membarrier is forbidden to who asks, or sleeps, he waits a little instead.
func TestAloneWithoutMembarrier(t *testing.T) {
	a := aloneAt(t, 4)
	b := anew(t, a)
	defer shm.ForbidFences()()
	sendRecv(t, b, b, 1)
	wantAlone(t, b, false, false)
	c := aloneAt(t, 4)
	got := make(chan error)
	go func() { _, err := c.Recv(bg); got <- err }()
	asleepIn(t, c.ReceiverSleeps)
	if err := c.Send(bg, 1); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// loner makes itself alone at both ends, and sleeps in a call.
var loner = proc.Register("shm_test/loner", func(ctx context.Context, q *shm.Queue[uint64]) error {
	shm.PlainAtOnce()
	for n := range uint64(3) {
		if err := q.Send(ctx, n); err != nil {
			return err
		}
	}
	for {
		if _, err := q.Recv(ctx); err != nil {
			return err
		}
	}
})

// Who is killed alone in a call leaves the end to the next one, who then is; or to
// all, if it is not quite gone when it is asked.
func TestAloneKilled(t *testing.T) {
	aloneAt(t, 4) // or there is nothing to see
	for _, gone := range []bool{true, false} {
		q := newQueue[uint64](t, 4)
		ctx := watchdog(t, 10*time.Second)
		p := started(t)(loner.Start(ctx, q))
		asleepIn(t, q.ReceiverSleeps)
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if gone {
			p.Wait(ctx)
		}
		sendRecv(t, q, q, 7)
		sendRecv(t, q, q, 8)
		if gone {
			wantAlone(t, q, true, true)
		}
		p.Wait(ctx)
	}
}
