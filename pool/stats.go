package pool

import (
	"sync/atomic"
	"time"
)

// counters are a worker's, in memory that it shares with the pool.
type counters struct {
	Func  atomic.Uint64 // id of the function that runs, or 0
	Since atomic.Int64  // when it began, in Unix nanoseconds
	Items atomic.Uint64 // arguments that are done with
}

// Stats is what a pool and its workers have done so far. Reading it asks no
// worker anything: workers count in shared memory.
type Stats struct {
	Size    int    // workers that may run calls at one time
	Idle    int    // workers that wait for a call, spares too
	Busy    int    // workers that have one
	Waiting int    // calls that wait for a worker
	Items   uint64 // arguments that functions were run on
	Ended   uint64 // workers that have died or were replaced
	Retried uint64 // calls that were begun again
	Workers []WorkerStats
}

// WorkerStats is what one worker does and has done.
type WorkerStats struct {
	Pid   int
	Func  string        // that runs now, or empty
	For   time.Duration // how long it has run
	Items uint64        // arguments done with
	RSS   int64         // resident memory, in bytes
}

// Stats returns what the pool is doing. It blocks for nobody's call.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.past
	s.Size, s.Idle, s.Busy, s.Waiting, s.Retried = p.size, len(p.idle), p.leased, len(p.waiting), p.retried.Load()
	for w := range p.all {
		c := w.counts.Ptr()
		ws := WorkerStats{Pid: w.proc.Pid(), Items: c.Items.Load(), RSS: residentBytes(w.proc.Pid())}
		if f := registered(c.Func.Load()); f != nil {
			ws.Func, ws.For = f.name, time.Since(time.Unix(0, c.Since.Load()))
		}
		s.Items += ws.Items
		s.Workers = append(s.Workers, ws)
	}
	return s
}

// report calls Progress until the pool is closed.
func (p *Pool) report() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for told := uint64(0); ; {
		select {
		case <-tick.C:
		case <-p.life.Done():
			p.cfg.Progress(p.Stats())
			return
		}
		if s := p.Stats(); s.Items != told {
			told = s.Items
			p.cfg.Progress(s)
		}
	}
}
