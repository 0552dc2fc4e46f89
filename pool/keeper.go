package pool

import (
	"fmt"
	"slices"
	"time"
)

const (
	// maxBarren is how many workers in a row, beyond one for each place, may
	// die before they have had a call, until the pool is given up.
	maxBarren = 8
	// restart bounds the pause before a worker is started in the place of one
	// that had no call.
	minRestart, maxRestart = 5 * time.Millisecond, 250 * time.Millisecond
)

// keep is the life of one place in the pool: it waits until a worker, that was
// offered, has died or is retired, then starts and offers the next. w may be nil.
func (p *Pool) keep(w *worker) {
	for {
		pause := time.Duration(0)
		if w != nil {
			select {
			case <-w.proc.Done():
			case <-w.retired:
			case <-p.life.Done():
			}
			last := p.withdraw(w)
			if !w.used && !w.proc.Alive() {
				pause = p.mourn(w.end("", nil))
			}
			dead := w
			p.keeper.Go(func() { p.funeral(dead) })
			if last {
				return
			}
		}
		for w = nil; w == nil; {
			select {
			case <-p.life.Done():
				return
			case <-time.After(pause):
			}
			var err error
			if w, err = p.start(); err != nil && p.life.Err() == nil {
				pause = p.mourn(err)
			}
		}
		p.offer(w)
	}
}

// mourn counts the workers in a row that died (or could not start) before they
// had a call, and returns the pause before the next one is started. Too many,
// and all calls to come fail.
func (p *Pool) mourn(err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.barren++; p.barren > p.size+maxBarren && p.broken == nil && p.life.Err() == nil {
		p.broken = fmt.Errorf("%w; the last one: %w", ErrBroken, err)
		p.refuse()
		p.end()
	}
	return min(minRestart<<min(p.barren, 8), maxRestart)
}

// offer makes a new worker available.
func (p *Pool) offer(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[w] = true
	if p.idle = append(p.idle, w); p.have > p.size+p.cfg.Spares {
		p.retire(w)
	}
	p.serve()
}

// withdraw takes a worker out of the pool that has died or will. It reports
// whether its place is no more.
func (p *Pool) withdraw(w *worker) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.gone {
		w.gone = true
		if i := slices.Index(p.idle, w); i >= 0 {
			p.idle = slices.Delete(p.idle, i, i+1)
		}
		if !w.leased {
			close(w.free)
		}
	}
	if w.used {
		p.barren = 0
	}
	return w.last
}

// funeral ends a worker, and lets go of it when the call that has it is over:
// that may still read what the worker left in its ring.
func (p *Pool) funeral(w *worker) {
	w.stop() // SIGTERM, and SIGKILL after WaitDelay
	select {
	case <-w.proc.Done():
	case <-p.life.Done():
		w.proc.Kill()
	}
	<-w.proc.Done()
	<-w.free
	p.mu.Lock()
	delete(p.all, w)
	p.past.Ended++
	p.past.Items += w.counts.Ptr().Items.Load()
	p.mu.Unlock()
	w.bury()
}
