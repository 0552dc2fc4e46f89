package pool

import (
	"fmt"
	"time"
)

const (
	// maxBarren is how many workers in a row, beyond one for each place, may
	// die before they have begun a call, until the pool is given up.
	maxBarren = 8
	// restart bounds the pause before a worker is started in the place of one
	// that began no call.
	minRestart, maxRestart = 5 * time.Millisecond, 250 * time.Millisecond
)

// keep is the life of one place in the pool: it starts and offers a worker, waits
// until that has died or is dismissed, and starts the next. first is told how the
// first start went: a failure ends the place. A place has two processes at most:
// one that works, one that is to end.
func (p *Pool) keep(first chan<- error) {
	buried := make(chan struct{})
	close(buried)
	for pause := time.Duration(0); ; {
		select {
		case <-p.life.Done():
			return
		case <-time.After(pause):
		}
		w, err := p.start()
		if err != nil && first != nil {
			first <- err
			return
		}
		if err != nil {
			pause = p.mourn(err)
			continue
		}
		if p.offer(w); first != nil {
			first <- nil
			first = nil
		}
		select {
		case <-w.proc.Done():
		case <-w.free:
		case <-p.life.Done():
		}
		last := p.withdraw(w)
		// To start the next one 3 ms later, when the next call has had a spare to
		// itself, gains that call nothing: 45-64 µs against 34-64.
		if pause = 0; !w.begun() && !w.proc.Alive() {
			pause = p.mourn(w.end(""))
		}
		<-buried
		done := make(chan struct{})
		buried = done
		p.places.Go(func() {
			defer close(done)
			p.funeral(w)
		})
		if last {
			return
		}
	}
}

// mourn counts the workers in a row that died (or could not start) before they
// began a call, and returns the pause before the next one is started. Too many,
// and no other left, and all calls to come fail.
func (p *Pool) mourn(err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.barren++; p.barren > p.size+maxBarren && len(p.idle)+p.leased == 0 && p.over(false) == nil {
		p.broken = fmt.Errorf("%w; the last one: %w", ErrBroken, err)
		p.stop()
	}
	return min(minRestart<<min(p.barren, 8), maxRestart)
}

// offer makes a new worker available.
func (p *Pool) offer(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[w] = true
	if p.surplus() {
		p.dismiss(w)
		return
	}
	p.idle = append(p.idle, w)
	p.serve()
}

// withdraw takes a worker out of the pool that has died or will. It reports
// whether its place is no more.
func (p *Pool) withdraw(w *worker) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.doomed = true
	select {
	case <-w.free:
	default:
		if !w.leased {
			p.dismiss(w)
		}
	}
	if w.begun() {
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
	}
	w.proc.Kill()
	<-w.free
	p.mu.Lock()
	delete(p.all, w)
	p.past.Ended++
	p.past.Items += w.counts.Ptr().Items.Load()
	p.mu.Unlock()
	w.bury()
}
