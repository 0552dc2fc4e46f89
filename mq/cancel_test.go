package mq_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/mq"
)

// Messages of several priorities through several goroutines: each once.
func TestConcurrent(t *testing.T) {
	const workers, each = 8, 1000
	q, name := fresh(t, small(4))
	q2, err := mq.Open(name, os.O_RDWR) // a second descriptor, a second line
	must(t, err)
	defer q2.Close()
	var senders, receivers sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint32]int{}
	ctx, cancel := context.WithCancel(bg)
	for id := range workers {
		q := []*mq.Queue{q, q2}[id%2]
		senders.Go(func() {
			for i := range each {
				if err := q.Send(bg, binary.LittleEndian.AppendUint32(nil, uint32(id*each+i)), uint(i%3)); err != nil {
					t.Error(err)
				}
			}
		})
		receivers.Go(func() {
			buf := make([]byte, 64)
			for {
				n, _, err := q.Recv(ctx, buf)
				if errors.Is(err, context.Canceled) {
					return
				}
				if n != 4 || err != nil {
					t.Error(n, err)
					return
				}
				mu.Lock()
				seen[binary.LittleEndian.Uint32(buf)]++
				mu.Unlock()
			}
		})
	}
	within(t, "senders", senders.Wait)
	within(t, "draining", func() {
		for {
			if st, err := q.Stat(); err != nil || st.Messages == 0 {
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	blocked()
	cancel()
	within(t, "receivers", receivers.Wait)
	for i := range uint32(workers * each) {
		if seen[i] != 1 {
			t.Fatalf("message %d: %d times", i, seen[i])
		}
	}
}

func TestCancelKeepsUserDeadline(t *testing.T) {
	q, _ := fresh(t, small(1))
	buf := make([]byte, 64)
	var until time.Time
	var err error
	for d := 100 * time.Millisecond; ; d *= 2 {
		if d > hang {
			t.Fatal("the Queue's own deadline always comes first")
		}
		until = time.Now().Add(d)
		must(t, q.SetReadDeadline(until))
		ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
		_, _, err = q.Recv(ctx, buf)
		cancel()
		if time.Now().Before(until) { // else the machine is busy
			break
		}
	}
	wantErr(t, "Recv", err, context.DeadlineExceeded)
	within(t, "Recv", func() { _, _, err = q.Recv(bg, buf) })
	wantErr(t, "Recv", err, os.ErrDeadlineExceeded)
	if time.Now().Before(until) {
		t.Errorf("%v early", time.Until(until))
	}
}

// Both sides cancelled at random: nothing is lost, doubled or out of order.
func TestCancelAtRandom(t *testing.T) {
	q, _ := fresh(t, small(2))
	const count = 1000
	go func() {
		for i := 0; i < count; {
			ctx, cancel := context.WithTimeout(bg, time.Duration(i%7)*50*time.Microsecond)
			if q.Send(ctx, binary.LittleEndian.AppendUint32(nil, uint32(i)), 0) == nil {
				i++
			}
			cancel()
		}
	}()
	within(t, "receiving", func() {
		buf := make([]byte, 64)
		for i := 0; i < count; {
			ctx, cancel := context.WithTimeout(bg, time.Duration(i%5)*50*time.Microsecond)
			_, _, err := q.Recv(ctx, buf)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				continue
			}
			if err != nil || binary.LittleEndian.Uint32(buf) != uint32(i) {
				t.Errorf("message %d: % x, %v", i, buf[:4], err)
				return
			}
			i++
		}
	})
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	q, _ := fresh(t, small(2))
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	msg, buf := make([]byte, 64), make([]byte, 64)
	if n := testing.AllocsPerRun(200, func() {
		if q.Send(ctx, msg, 1) != nil {
			panic("Send")
		}
		if _, _, err := q.Recv(ctx, buf); err != nil {
			panic("Recv")
		}
		if ok, err := q.TrySend(msg, 1); !ok || err != nil {
			panic("TrySend")
		}
		if _, _, ok, err := q.TryRecv(buf); !ok || err != nil {
			panic("TryRecv")
		}
	}); n != 0 {
		t.Errorf("%v allocations for two messages", n)
	}
}
