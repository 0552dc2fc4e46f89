package futex

import (
	"context"
	"sync"
	"sync/atomic"
)

// A line makes the goroutines of this process that wait for one word stand
// behind each other: the one with the token may sleep in the kernel, the
// others wait for the token, which costs no thread. A line exists only while
// somebody stands in it.
type line struct {
	token chan struct{} // holds one value while nobody is at the head
	users int           // at the head or waiting; guarded by the shard
}

const lineShards = 64

var lines [lineShards]struct {
	mu   sync.Mutex
	at   map[*atomic.Uint32]*line
	free []*line
}

// enterLine waits until the caller is at the head of the line for addr, or
// ctx ends. Only a caller that got nil must call leaveLine.
func enterLine(ctx context.Context, addr *atomic.Uint32) (*line, error) {
	l := joinLine(addr)
	select {
	case <-l.token:
		return l, nil
	case <-ctx.Done():
		quitLine(addr, l)
		return nil, ctx.Err()
	}
}

func leaveLine(addr *atomic.Uint32, l *line) {
	l.token <- struct{}{}
	quitLine(addr, l)
}

func joinLine(addr *atomic.Uint32) *line {
	s := &lines[shardOf(addr)]
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.at[addr]
	if l == nil {
		if n := len(s.free); n > 0 {
			l, s.free = s.free[n-1], s.free[:n-1]
		} else {
			l = &line{token: make(chan struct{}, 1)}
			l.token <- struct{}{}
		}
		if s.at == nil {
			s.at = make(map[*atomic.Uint32]*line)
		}
		s.at[addr] = l
	}
	l.users++
	return l
}

func quitLine(addr *atomic.Uint32, l *line) {
	s := &lines[shardOf(addr)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(s.at, addr)
		if len(s.free) < 4 {
			s.free = append(s.free, l)
		}
	}
}
