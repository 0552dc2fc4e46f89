package mq_test

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/mq"
)

// receivers are n goroutines in Recv on one descriptor, each with its own
// context.
type receivers struct {
	cancel []context.CancelFunc
	ended  []chan error
}

func receiving(q *mq.Queue, n int) *receivers {
	r := &receivers{make([]context.CancelFunc, n), make([]chan error, n)}
	for i := range n {
		ctx, cancel := context.WithCancel(bg)
		r.cancel[i], r.ended[i] = cancel, make(chan error, 1)
		go func() {
			_, _, err := q.Recv(ctx, make([]byte, 64))
			r.ended[i] <- err
		}()
	}
	blocked()
	return r
}

// A hundred in Recv, cancelled one after the other in any order: each leaves at
// once and alone, also when it is the one that waits for all. Then a deadline of
// the descriptor ends those who are left, and a message goes to one of them.
func TestHundredReceivers(t *testing.T) {
	fuzz.Leaks(t)
	q, _ := fresh(t, small(10))
	for _, direction := range []string{"deadline", "messages"} {
		r := receiving(q, 100)
		order := rand.Perm(100)
		for i, who := range order[:60] {
			r.cancel[who]()
			wantErr(t, "cancelled Recv", result(t, "cancelled Recv", r.ended[who]), context.Canceled)
			if i%10 == 0 {
				for _, other := range order[i+1:] {
					if len(r.ended[other]) > 0 {
						t.Fatalf("the end of one ended another: %v", <-r.ended[other])
					}
				}
			}
		}
		switch direction {
		case "deadline":
			until := time.Now().Add(20 * time.Millisecond)
			must(t, q.SetReadDeadline(until))
			for _, who := range order[60:] {
				wantErr(t, "Recv", result(t, "Recv", r.ended[who]), os.ErrDeadlineExceeded)
			}
			if time.Now().Before(until) {
				t.Error("early")
			}
			must(t, q.SetReadDeadline(time.Time{}))
		case "messages":
			for range 40 {
				must(t, q.Send(bg, nil, 0))
			}
			for _, who := range order[60:] {
				must(t, result(t, "Recv", r.ended[who]))
			}
		}
		for _, cancel := range r.cancel {
			cancel()
		}
	}
}

// The same for senders without room.
func TestHundredSenders(t *testing.T) {
	q, _ := fresh(t, small(1))
	must(t, q.Send(bg, nil, 0))
	const n = 100
	var cancel [n]context.CancelFunc
	var ended [n]chan error
	for i := range n {
		ctx, c := context.WithCancel(bg)
		cancel[i], ended[i] = c, make(chan error, 1)
		go func() { ended[i] <- q.Send(ctx, []byte{byte(i)}, 1) }()
	}
	blocked()
	for i := 0; i < n; i += 2 {
		cancel[i]()
		wantErr(t, "cancelled Send", result(t, "cancelled Send", ended[i]), context.Canceled)
	}
	seen := map[byte]int{}
	buf := make([]byte, 64)
	for range n/2 + 1 {
		within(t, "Recv", func() {
			size, prio, err := q.Recv(bg, buf)
			must(t, err)
			if size == 1 && prio == 1 {
				seen[buf[0]]++
			}
		})
	}
	for i := 1; i < n; i += 2 {
		must(t, result(t, "Send", ended[i]))
		if seen[byte(i)] != 1 {
			t.Errorf("message %d came %d times", i, seen[byte(i)])
		}
		cancel[i]()
	}
	if _, _, ok, err := q.TryRecv(buf); ok || err != nil {
		t.Errorf("one too many: %v, %v", ok, err)
	}
}

// Blocked receivers over 50 queues hold few threads, and each gets its message.
func TestBlockedReceiversNeedNoThreads(t *testing.T) {
	const queues, each = 50, 20
	before := fuzz.Hold()
	var wg sync.WaitGroup
	var all []*mq.Queue
	begin := make(chan struct{}) // all at once, so that all begin their waits together
	for i := range queues {
		q, _ := fresh(t, small(1))
		all = append(all, q)
		for range each {
			wg.Go(func() {
				buf := make([]byte, 64)
				<-begin
				n, _, err := q.Recv(bg, buf)
				if n != 1 || err != nil || buf[0] != byte(i) {
					t.Errorf("queue %d: %d, %v, %d", i, n, err, buf[0])
				}
			})
		}
	}
	close(begin)
	blocked()
	if now := fuzz.Hold(); now.Threads >= 48+runtime.GOMAXPROCS(0) {
		t.Errorf("%d threads for %d blocked receivers, before %d", now.Threads, queues*each, before.Threads)
	}
	for range each {
		for i, q := range all {
			within(t, "Send", func() { must(t, q.Send(bg, []byte{byte(i)}, 0)) })
		}
	}
	within(t, "receivers", wg.Wait)
}
