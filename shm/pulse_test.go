package shm_test

import (
	"sync"
	"testing"
	"time"
)

// A pulse notes when this process did not run: a machine may stand still for longer
// than any wait that a test is about.
type pulse struct {
	mu     sync.Mutex
	beat   time.Time
	pauses []pulsePause
}

type pulsePause struct {
	end time.Time
	d   time.Duration
}

func startPulse(t testing.TB) *pulse {
	const every = 5 * time.Millisecond
	p := &pulse{beat: time.Now()}
	tick, over := time.NewTicker(every), make(chan bool)
	t.Cleanup(func() { tick.Stop(); close(over) })
	go func() {
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			p.mu.Lock()
			now := time.Now()
			if d := now.Sub(p.beat); d > 4*every {
				p.pauses = append(p.pauses, pulsePause{now, d})
			}
			p.beat = now
			p.mu.Unlock()
		}
	}()
	return p
}

// longest is the longest pause that was not over at since.
func (p *pulse) longest(since time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := time.Since(p.beat)
	for _, pause := range p.pauses {
		if pause.end.After(since) {
			most = max(most, pause.d)
		}
	}
	return most
}
