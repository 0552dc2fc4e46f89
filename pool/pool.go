package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A Config says how a pool is made. A nil *Config stands for the defaults.
type Config struct {
	// Workers is the number of worker processes that run calls at one time; 0:
	// as many as CPUs says.
	Workers int

	// Spares is the number of further workers that are kept ready: when one
	// dies, the next call need not wait for a process to start.
	Spares int

	// CPUs are the numbers of the CPUs that workers may run on; nil: any that
	// this process may.
	CPUs []int

	// Init runs in each new worker before its first call. Shared objects reach
	// workers as its argument: see RegisterInit.
	Init Initializer

	// MaxCalls ends a worker after so many calls, in which each argument of a
	// Map counts; MaxRSS ends it after a call that left it with more than so
	// many bytes of resident memory. Another one takes its place. 0: no limit.
	MaxCalls int
	MaxRSS   int64

	// Retries is how many times a call is begun again whose worker died. It is
	// for functions that may run twice.
	Retries int

	// Chunk is how many arguments go to a worker at a time; 0: a quarter of a
	// worker's share in Map, and one in MapSeq and MapUnordered.
	Chunk int

	// Codec is the name of the codec, from RegisterCodec, for what can't travel
	// as it is; empty: package gob.
	Codec string

	// Stderr gets what workers write to their standard error, line by line with
	// a prefix; nil: this process's own. A writer that blocks holds up Close.
	Stderr io.Writer

	// WaitDelay is how long a function whose call was cancelled may go on after
	// its context has ended, until its worker is killed; 0: proc.DefaultWaitDelay.
	WaitDelay time.Duration

	// Progress is called every tenth of a second in which something was done,
	// and once at the end, by one goroutine.
	Progress func(Stats)
}

func (c *Config) check() error {
	for _, f := range []struct {
		what string
		n    int64
	}{{"workers", int64(c.Workers)}, {"spares", int64(c.Spares)}, {"calls at most", int64(c.MaxCalls)}, {"bytes of memory", c.MaxRSS},
		{"retries", int64(c.Retries)}, {"arguments a chunk", int64(c.Chunk)}, {"nanoseconds of WaitDelay", int64(c.WaitDelay)}} {
		if f.n < 0 {
			return fmt.Errorf("pool: %d %s, want 0 (the default) or more", f.n, f.what)
		}
	}
	_, err := codecNamed(c.Codec)
	return err
}

// A Pool is a number of worker processes that run registered functions. Its
// methods may be called concurrently.
type Pool struct {
	cfg    Config
	codec  Codec
	life   context.Context // ends at Close
	end    context.CancelFunc
	keeper sync.WaitGroup
	stderr sync.Mutex // one line at a time

	mu      sync.Mutex
	idle    []*worker      // the last one in is the first one out: it is warm
	waiting []chan *worker // calls that wait for a worker, the oldest first
	all     map[*worker]bool
	size    int // workers that may be leased at one time
	have    int // keepers: size and spares, or on the way there
	leased  int
	active  int           // calls that were accepted and are not over
	closed  bool          // no new calls
	drained chan struct{} // closed when active is 0 after Shutdown
	broken  error         // workers keep dying
	barren  int           // workers in a row that died without having had a call
	past    Stats         // counts of what is over
}

// New starts the workers and returns when all are ready and have run Init. If
// one can't be started, the others are ended and the error says why. The
// program must call proc.Dispatch first in main (or TestMain). cfg may be nil.
func New(cfg *Config) (*Pool, error) {
	p := &Pool{drained: make(chan struct{}), all: make(map[*worker]bool)}
	if cfg != nil {
		p.cfg = *cfg
	}
	if err := p.cfg.check(); err != nil {
		return nil, err
	}
	p.codec, _ = codecNamed(p.cfg.Codec)
	if p.size = p.cfg.Workers; p.size == 0 {
		p.size = CPUs()
	}
	p.have = p.size + p.cfg.Spares
	p.life, p.end = context.WithCancel(context.Background())
	workers, errs := make([]*worker, p.have), make([]error, p.have)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { workers[i], errs[i] = p.start() })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		p.end()
		for _, w := range workers {
			if w != nil {
				w.bury()
			}
		}
		p.keeper.Wait()
		return nil, err
	}
	for _, w := range workers {
		p.offer(w)
		p.keeper.Go(func() { p.keep(w) })
	}
	if p.cfg.Progress != nil {
		p.keeper.Go(p.report)
	}
	return p, nil
}

// Resize changes how many workers run calls at one time. It does not wait: new
// workers are started, or some end as they become idle.
func (p *Pool) Resize(workers int) error {
	if workers < 1 {
		return fmt.Errorf("pool: %d workers, want 1 or more", workers)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refusal(); err != nil {
		return err
	}
	p.size = workers
	for ; p.have < p.size+p.cfg.Spares; p.have++ {
		p.keeper.Go(func() { p.keep(nil) })
	}
	for len(p.idle) > 0 && p.have > p.size+p.cfg.Spares {
		p.retire(p.idle[0])
	}
	p.serve()
	return nil
}

// Shutdown refuses new calls with os.ErrClosed, waits until those that were
// accepted have come to their end, and then ends the workers. If ctx ends first it returns
// ctx.Err(), and Close must be called.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.stop()
	select {
	case <-p.drained:
		return p.Close()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the pool at once: calls that run or wait fail with os.ErrClosed,
// the workers are killed, and it returns when all are gone. It may be called
// more than once.
func (p *Pool) Close() error {
	p.stop()
	p.end() // the keepers kill the workers
	p.mu.Lock()
	p.refuse()
	p.mu.Unlock()
	p.keeper.Wait()
	return nil
}

// stop refuses new calls.
func (p *Pool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		if p.active == 0 {
			close(p.drained)
		}
	}
}

// refuse sends away all that wait for a worker. p.mu is held.
func (p *Pool) refuse() {
	for _, c := range p.waiting {
		close(c)
	}
	p.waiting = nil
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

// enter accepts a call, or a Map: Shutdown waits for its exit.
func (p *Pool) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.refusal()
	if err == nil {
		p.active++
	}
	return err
}

func (p *Pool) exit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active--; p.active == 0 && p.closed {
		close(p.drained)
	}
}
