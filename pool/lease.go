package pool

import (
	"context"
	"fmt"
	"os"
	"slices"
)

// lease waits until a worker is idle and takes it.
func (p *Pool) lease(ctx context.Context) (*worker, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if err := p.ended(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	if len(p.waiting) == 0 && len(p.idle) > 0 && p.leased < p.size {
		w := p.take()
		p.mu.Unlock()
		return w, nil
	}
	c := make(chan *worker, 1)
	p.waiting = append(p.waiting, c)
	p.mu.Unlock()
	select {
	case w := <-c:
		if w == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			return nil, p.ended()
		}
		return w, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, c); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.mu.Unlock()
		return nil, ctx.Err()
	}
	p.mu.Unlock()
	if w := <-c; w != nil { // it was ours already
		p.giveBack(w)
	}
	return nil, ctx.Err()
}

// ended is what an accepted call gets of a pool that is no more. p.mu is held.
func (p *Pool) ended() error {
	if p.broken != nil {
		return p.broken
	}
	if p.life.Err() != nil {
		return fmt.Errorf("pool: %w", os.ErrClosed)
	}
	return nil
}

// take leases the warmest of the idle workers. p.mu is held.
func (p *Pool) take() *worker {
	n := len(p.idle) - 1
	w := p.idle[n]
	p.idle = p.idle[:n]
	w.leased, w.used = true, true
	p.leased++
	// A caller that spins and a worker that works are two: no spinning unless
	// there is a CPU for each.
	w.spin = 2*p.leased <= cpuCount
	return w
}

// serve hands idle workers to the calls that wait longest. p.mu is held.
func (p *Pool) serve() {
	for len(p.waiting) > 0 && len(p.idle) > 0 && p.leased < p.size {
		p.waiting[0] <- p.take()
		p.waiting = p.waiting[1:]
	}
}

// giveBack ends a lease.
func (p *Pool) giveBack(w *worker) {
	fat := p.cfg.MaxRSS > 0 && !w.doomed && residentBytes(w.proc.Pid()) > p.cfg.MaxRSS
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leased--
	w.leased = false
	worn := p.cfg.MaxCalls > 0 && w.items >= uint64(p.cfg.MaxCalls)
	switch {
	case w.gone:
		close(w.free)
	case w.doomed || worn || fat || p.have > p.size+p.cfg.Spares:
		p.retire(w)
	default:
		p.idle = append(p.idle, w)
	}
	p.serve()
}

// retire tells a worker's keeper to end it and to start another one. p.mu is
// held, and nobody has the lease.
func (p *Pool) retire(w *worker) {
	if i := slices.Index(p.idle, w); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	w.gone = true
	close(w.free)
	close(w.retired)
	if p.have > p.size+p.cfg.Spares {
		p.have--
		w.last = true
	}
}
