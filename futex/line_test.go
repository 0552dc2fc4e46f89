package futex

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// One at a time is at the head of a line, whoever gives up on the way, and
// nothing is left of it.
func TestLine(t *testing.T) {
	var words [3]atomic.Uint32
	var heads [3][2]atomic.Int32
	var through, gaveUp atomic.Int32
	var all sync.WaitGroup
	for g := range 30 {
		all.Go(func() {
			for i := range 500 {
				k, turn := (g+i)%3, i%2
				ctx, cancel := context.WithCancel(context.Background())
				if g%3 == 0 && i%5 == 0 {
					cancel()
				}
				key := lineKey{&words[k], uint64(turn)}
				l, err := enterLine(ctx, key)
				if err == nil {
					if n := heads[k][turn].Add(1); n != 1 {
						t.Errorf("%d at the head of a line", n)
					}
					runtime.Gosched()
					through.Add(1)
					heads[k][turn].Add(-1)
					l.leave()
				} else {
					gaveUp.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	t.Logf("%d were at the head, %d gave up", through.Load(), gaveUp.Load())
	noLines(t)
}

// Who gives up just as the head is handed to it leaves nothing behind either.
func TestLineHandedToNobody(t *testing.T) {
	var w atomic.Uint32
	key, gaveUp := lineKey{addr: &w}, 0
	for range 2000 {
		l, _ := enterLine(context.Background(), key)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() {
			l, err := enterLine(ctx, key)
			if err == nil {
				l.leave()
			}
			done <- err
		}()
		for s := &lines[shardOf(&w)]; ; runtime.Gosched() {
			s.mu.Lock()
			n := l.users
			s.mu.Unlock()
			if n == 2 {
				break
			}
		}
		cancel()
		l.leave()
		if <-done != nil {
			gaveUp++
		}
		noLines(t)
	}
	t.Logf("%d of 2000 gave up", gaveUp)
}

func noLines(t *testing.T) {
	t.Helper()
	for i := range lines {
		s := &lines[i]
		if s.n != 0 || len(s.all) > keptLines {
			t.Fatalf("shard %d: %d lines in use and %d kept", i, s.n, len(s.all)-s.n)
		}
		for _, l := range s.all {
			if len(l.token) != 0 {
				t.Fatal("a token is left in a line")
			}
		}
	}
}

func BenchmarkLine(b *testing.B) {
	var w atomic.Uint32
	for b.Loop() {
		l, err := enterLine(context.Background(), lineKey{addr: &w})
		if err != nil {
			b.Fatal(err)
		}
		l.leave()
	}
}
