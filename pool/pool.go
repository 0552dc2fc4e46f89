package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

// A Config says how a pool is made. A nil *Config stands for the defaults.
type Config struct {
	// Workers is the number of worker processes; 0: as many as there are CPUs
	// for this process.
	Workers int

	// CPUs are the numbers of the CPUs that workers may run on; nil: any that
	// this process may.
	CPUs []int
}

// A Pool is a number of worker processes that run registered functions. Its
// methods may be called concurrently.
type Pool struct {
	cfg    Config
	life   context.Context // ends at Close
	end    context.CancelFunc
	keeper sync.WaitGroup

	mu      sync.Mutex
	idle    []*worker      // the last one in is the first one out: it is warm
	waiting []chan *worker // calls that wait for a worker, the oldest first
	leased  int
	closed  bool          // no new calls
	drained chan struct{} // closed when leased is 0 after Shutdown
	broken  error         // workers keep dying
	barren  int           // workers in a row that died without serving a call
}

const (
	// maxBarren is how many workers in a row, beyond one for each place, may
	// die before they have served a call, until the pool is given up.
	maxBarren = 8
	// restart bounds the pause before a worker is started in the place of one
	// that served no call.
	minRestart, maxRestart = 5 * time.Millisecond, time.Second
)

// New starts the workers and returns when all are ready. If one can't be
// started, the others are ended and the error says why. The program must call
// proc.Dispatch first in main (or TestMain). cfg may be nil.
func New(cfg *Config) (*Pool, error) {
	p := &Pool{drained: make(chan struct{})}
	if cfg != nil {
		p.cfg = *cfg
	}
	if p.cfg.Workers < 0 {
		return nil, fmt.Errorf("pool: %d workers, want 1 or more, or 0 for one a CPU", p.cfg.Workers)
	}
	if p.cfg.Workers == 0 {
		p.cfg.Workers = runtime.NumCPU()
	}
	p.life, p.end = context.WithCancel(context.Background())
	workers := make([]*worker, p.cfg.Workers)
	errs := make([]error, p.cfg.Workers)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { workers[i], errs[i] = p.start() })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, w := range workers {
			if w != nil {
				w.bury()
			}
		}
		p.end()
		return nil, err
	}
	for _, w := range workers {
		p.keeper.Go(func() { p.keep(w) })
	}
	return p, nil
}

// keep is the life of one place in the pool: it offers a worker, waits until
// it has died, and starts the next.
func (p *Pool) keep(w *worker) {
	for {
		var end *WorkerError
		served := false
		if w != nil {
			p.offer(w)
			select {
			case <-w.proc.Done():
			case <-p.life.Done():
				w.proc.Kill()
				<-w.proc.Done()
			}
			p.withdraw(w)
			end, served = w.ended(""), w.served > 0
			w.bury()
		}
		pause := p.mourn(end, served)
		select {
		case <-p.life.Done():
			return
		case <-time.After(pause):
		}
		var err error
		if w, err = p.start(); err != nil {
			w = nil
			if p.life.Err() == nil {
				p.fail(err)
			}
		}
	}
}

// mourn counts the workers in a row that died (or could not start) before they
// served a call, and returns the pause before the next one is started.
func (p *Pool) mourn(end *WorkerError, served bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if served {
		p.barren = 0
		return 0
	}
	if p.barren++; p.tooBarren() && end != nil {
		p.breakUp(fmt.Errorf("%w; the last one: %w", ErrBroken, end))
	}
	return min(minRestart<<min(p.barren, 8), maxRestart)
}

func (p *Pool) tooBarren() bool { return p.barren > p.cfg.Workers+maxBarren }

// fail counts a worker that could not even be started.
func (p *Pool) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tooBarren() {
		p.breakUp(fmt.Errorf("%w; the last one could not start: %w", ErrBroken, err))
	}
}

// breakUp ends the pool with an error for all calls to come. p.mu is held.
func (p *Pool) breakUp(err error) {
	if p.broken == nil && !p.closed {
		p.broken = err
	}
	p.refuse()
	p.end()
}

// refuse sends away all that wait for a worker. p.mu is held.
func (p *Pool) refuse() {
	for _, c := range p.waiting {
		close(c)
	}
	p.waiting = nil
}

// Shutdown lets the calls that run come to their end, refuses new ones with
// os.ErrClosed (also those that still wait for a worker), and then ends the
// workers. If ctx ends first it returns ctx.Err(), and Close must be called.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.stop()
	select {
	case <-p.drained:
		return p.Close()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the pool at once: running calls fail with os.ErrClosed, the
// workers are killed, and it returns when all are gone. It may be called more
// than once.
func (p *Pool) Close() error {
	p.stop()
	p.end() // the keepers kill the workers
	p.keeper.Wait()
	return nil
}

// stop refuses new calls.
func (p *Pool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.refuse()
	if p.leased == 0 {
		close(p.drained)
	}
}

// lease waits until a worker is idle and takes it.
func (p *Pool) lease(ctx context.Context) (*worker, error) {
	p.mu.Lock()
	if err := p.refusal(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		w.leased = true
		p.leased++
		p.mu.Unlock()
		return w, nil
	}
	if err := ctx.Err(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	c := make(chan *worker, 1)
	p.waiting = append(p.waiting, c)
	p.mu.Unlock()
	select {
	case w := <-c:
		if w == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			return nil, p.refusal()
		}
		return w, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	for i, other := range p.waiting {
		if other == c {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.mu.Unlock()
			return nil, ctx.Err()
		}
	}
	p.mu.Unlock()
	if w := <-c; w != nil { // it was ours already
		p.giveBack(w)
	}
	return nil, ctx.Err()
}

func (p *Pool) refusal() error {
	if p.broken != nil {
		return p.broken
	}
	if p.closed {
		return fmt.Errorf("pool: %w", os.ErrClosed)
	}
	return nil
}

// giveBack ends a lease.
func (p *Pool) giveBack(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leased--
	if p.closed && p.leased == 0 {
		close(p.drained)
	}
	w.leased = false
	if cap(w.out)+cap(w.in) > 4*ringSize {
		w.out, w.in = nil, nil // don't keep what one large call needed
	}
	if w.gone {
		close(w.free)
	} else if !w.doomed {
		p.place(w)
	}
}

// offer makes a new worker available.
func (p *Pool) offer(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.place(w)
}

// place hands w to the call that waits longest, or makes it idle. p.mu is held.
func (p *Pool) place(w *worker) {
	if len(p.waiting) > 0 {
		w.leased = true
		p.leased++
		p.waiting[0] <- w
		p.waiting = p.waiting[1:]
		return
	}
	p.idle = append(p.idle, w)
}

// withdraw takes a dead worker out of the pool. If a call has it, that call is
// woken, and may still read what the worker left in its ring.
func (p *Pool) withdraw(w *worker) {
	w.die()
	p.mu.Lock()
	w.gone = true
	leased := w.leased
	for i, other := range p.idle {
		if other == w {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			break
		}
	}
	p.mu.Unlock()
	if leased {
		<-w.free
	}
}
