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
	if err := p.over(false); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	if len(p.idle) > 0 && p.leased < p.size {
		defer p.mu.Unlock()
		return p.hand(), nil
	}
	c := make(chan *worker, 1)
	p.waiting = append(p.waiting, c)
	p.mu.Unlock()
	select {
	case w := <-c:
		if w != nil {
			return w, nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return nil, p.over(false)
	case <-ctx.Done():
	}
	p.mu.Lock()
	i := slices.Index(p.waiting, c)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 { // a worker was handed over already
		if w := <-c; w != nil {
			p.giveBack(w, true)
		}
	}
	return nil, ctx.Err()
}

// over is the error for calls if the pool is no more, or closed to new ones. p.mu
// is held, or p.life has ended: then it doesn't change any more.
func (p *Pool) over(closed bool) error {
	if p.broken == nil && (closed || p.life.Err() != nil) {
		return fmt.Errorf("pool: %w", os.ErrClosed)
	}
	return p.broken
}

// hand leases the warmest of the idle workers. p.mu is held.
func (p *Pool) hand() *worker {
	n := len(p.idle) - 1
	w := p.idle[n]
	p.idle = p.idle[:n]
	w.leased = true
	p.leased++
	w.spin = p.leased <= w.pairs
	// A wait for a reply holds a P until the runtime takes it away, which under
	// load takes longer than many a call. Who may hold the last one lets others
	// send their requests first.
	w.crowd = p.leased >= CPUs()
	return w
}

// serve hands idle workers to the calls that wait longest, so that none waits
// while a worker is idle that may be leased. p.mu is held.
func (p *Pool) serve() {
	for len(p.waiting) > 0 && len(p.idle) > 0 && p.leased < p.size {
		p.waiting[0] <- p.hand()
		p.waiting = p.waiting[1:]
	}
}

// giveBack ends a lease; whole: of a worker that may have another one.
func (p *Pool) giveBack(w *worker, whole bool) {
	fat := p.cfg.MaxRSS > 0 && residentBytes(w.proc.Pid()) > p.cfg.MaxRSS
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leased--
	w.leased = false
	worn := p.cfg.MaxCalls > 0 && w.items >= uint64(p.cfg.MaxCalls)
	if !whole || w.doomed || worn || fat || p.surplus() {
		p.dismiss(w)
	} else {
		p.idle = append(p.idle, w)
	}
	p.serve()
}

// surplus reports whether there are more places than wanted. p.mu is held.
func (p *Pool) surplus() bool { return p.have > p.size+p.spares }

// dismiss takes a worker out of the pool which nobody has leased: its keeper ends
// it and starts another one. p.mu is held.
func (p *Pool) dismiss(w *worker) {
	if i := slices.Index(p.idle, w); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	if w.last = p.surplus(); w.last {
		p.have--
	}
	close(w.free)
}
