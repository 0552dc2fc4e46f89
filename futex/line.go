package futex

import (
	"context"
	"sync"
	"sync/atomic"
)

// A line makes the goroutines of this process that wait for one thing stand
// behind each other: the one at the head may sleep in the kernel, the others
// wait for the token, which costs no thread. A line exists only while somebody
// stands in it.
//
// All that stand in a line must be able to wait for whoever is at its head: so
// what ends in turns, and can begin anew while some have not yet noticed the
// end, has a line for each turn.
type line struct {
	key   lineKey
	users int           // at the head or waiting; guarded by the shard
	token chan struct{} // holds one value while others wait and nobody is at the head
}

// lineKey says what a line is for: a word, and which turn of it.
type lineKey struct {
	addr *atomic.Uint32
	turn uint64
}

const (
	lineShards = 64
	keptLines  = 4 // of each shard, when nobody stands in them
)

// lines are few: a word has one, or one for each of its latest turns.
var lines [lineShards]struct {
	mu  sync.Mutex
	all []*line // those with users first
	n   int     // how many have
	_   [24]byte
}

// enterLine waits until the caller is at the head of the line for key, or
// ctx ends. Only a caller that got nil must call leave.
func enterLine(ctx context.Context, key lineKey) (*line, error) {
	l, head := joinLine(key)
	if head {
		return l, nil
	}
	select {
	case <-l.token:
		return l, nil
	case <-ctx.Done():
		l.quit(false)
		return nil, ctx.Err()
	}
}

// leave gives the head to one of those who wait.
func (l *line) leave() { l.quit(true) }

// joinLine finds the line for key or makes one, whose head the caller is then.
func joinLine(key lineKey) (l *line, head bool) {
	s := &lines[shardOf(key.addr)]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.all[:s.n] {
		if l.key == key {
			l.users++
			return l, false
		}
	}
	if s.n == len(s.all) {
		s.all = append(s.all, &line{token: make(chan struct{}, 1)})
	}
	l = s.all[s.n]
	l.key, l.users = key, 1
	s.n++
	return l, true
}

func (l *line) quit(head bool) {
	s := &lines[shardOf(l.key.addr)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users > 0 {
		if head {
			l.token <- struct{}{}
		}
		return
	}
	if !head { // it was handed to one who had given up
		<-l.token
	}
	s.n--
	for i, other := range s.all[:s.n] {
		if other == l {
			s.all[i], s.all[s.n] = s.all[s.n], l
		}
	}
	l.key = lineKey{}
	if last := len(s.all) - 1; last >= keptLines {
		s.all[s.n], s.all[last] = s.all[last], nil
		s.all = s.all[:last]
	}
}
