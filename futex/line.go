package futex

import (
	"context"
	"sync"
	"sync/atomic"
)

// A line makes the goroutines of this process that wait for one thing stand
// behind each other: the one with the token may sleep in the kernel, the
// others wait for the token, which costs no thread. A line exists only while
// somebody stands in it.
//
// All that stand in a line must be able to wait for whoever is at its head: so
// what ends in turns, and can begin anew while some have not yet noticed the
// end, has a line for each turn.
type line struct {
	token chan struct{} // holds one value while nobody is at the head
	users int           // at the head or waiting; guarded by the shard
}

// lineKey says what a line is for: a word, and which turn of it.
type lineKey struct {
	addr *atomic.Uint32
	turn uint64
}

const lineShards = 64

var lines [lineShards]struct {
	mu   sync.Mutex
	at   map[lineKey]*line
	free []*line
}

// enterLine waits until the caller is at the head of the line for key, or
// ctx ends. Only a caller that got nil must call leaveLine.
func enterLine(ctx context.Context, key lineKey) (*line, error) {
	l := joinLine(key)
	select {
	case <-l.token:
		return l, nil
	case <-ctx.Done():
		quitLine(key, l)
		return nil, ctx.Err()
	}
}

func leaveLine(key lineKey, l *line) {
	l.token <- struct{}{}
	quitLine(key, l)
}

func joinLine(key lineKey) *line {
	s := &lines[shardOf(key.addr)]
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.at[key]
	if l == nil {
		if n := len(s.free); n > 0 {
			l, s.free = s.free[n-1], s.free[:n-1]
		} else {
			l = &line{token: make(chan struct{}, 1)}
			l.token <- struct{}{}
		}
		if s.at == nil {
			s.at = make(map[lineKey]*line)
		}
		s.at[key] = l
	}
	l.users++
	return l
}

func quitLine(key lineKey, l *line) {
	s := &lines[shardOf(key.addr)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(s.at, key)
		if len(s.free) < 4 {
			s.free = append(s.free, l)
		}
	}
}
