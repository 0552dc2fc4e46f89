package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/shm"
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
	// this process may. See CPUs of [proc.Cmd].
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

	// Codec is the name of the codec, from shm.RegisterCodec, for what can't
	// travel as it is; empty: package gob.
	Codec string

	// Stderr gets what workers write to their standard error, line by line with
	// a prefix; nil: this process's own. A writer that blocks holds up Close.
	Stderr io.Writer

	// WaitDelay is how long a function whose call was cancelled may go on after
	// its context has ended, until its worker is killed; 0: proc.DefaultWaitDelay.
	// Meanwhile another worker takes the place, but no third one.
	WaitDelay time.Duration

	// Progress is called every tenth of a second in which something was done,
	// and once at the end, by one goroutine. It must not close the pool.
	Progress func(Stats)
}

// A Pool is a number of worker processes that run registered functions. Its
// methods may be called concurrently.
type Pool struct {
	cfg    Config
	codec  shm.Codec
	life   context.Context // ends at Close
	end    context.CancelFunc
	calls  sync.WaitGroup // calls that were accepted and are not over
	places sync.WaitGroup // keepers and funerals
	others sync.WaitGroup // goroutines that outlast them
	stderr sync.Mutex     // one line at a time

	retried atomic.Uint64

	mu      sync.Mutex
	idle    []*worker      // the last one in is the first one out: it is warm
	waiting []chan *worker // calls that wait for a worker, the oldest first
	all     map[*worker]bool
	size    int // workers that may be leased at one time
	spares  int
	have    int // keepers: size and spares, or on the way there
	leased  int
	closed  bool  // no new calls
	broken  error // workers keep dying
	barren  int   // workers in a row that died before they began a call
	past    Stats // counts of what is over
}

// New starts the workers and returns when all are ready and have run Init. If
// one can't be started, the others are ended and the error says why. The
// program must call proc.Dispatch first in main (or TestMain). cfg may be nil.
func New(cfg *Config) (*Pool, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	p := &Pool{cfg: *cfg, all: make(map[*worker]bool), size: cmp.Or(cfg.Workers, CPUs()), spares: cfg.Spares}
	for what, n := range map[string]int64{"workers": int64(cfg.Workers), "spares": int64(cfg.Spares), "calls at most": int64(cfg.MaxCalls),
		"bytes of memory": cfg.MaxRSS, "retries": int64(cfg.Retries), "arguments a chunk": int64(cfg.Chunk), "nanoseconds of WaitDelay": int64(cfg.WaitDelay)} {
		if n < 0 {
			return nil, fmt.Errorf("pool: %d %s, want 0 (the default) or more", n, what)
		}
	}
	var err error
	if p.codec, err = shm.LookupCodec(cfg.Codec); err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	p.cfg.Stderr = cmp.Or[io.Writer](cfg.Stderr, os.Stderr)
	if cfg.Init.start == nil {
		p.cfg.Init = noInit.With(struct{}{})
	}
	p.life, p.end = context.WithCancel(context.Background())
	first := make(chan error)
	p.mu.Lock()
	p.fit(p.size, p.spares, first)
	p.mu.Unlock()
	var errs []error
	for range p.have {
		errs = append(errs, <-first)
	}
	if err = errors.Join(errs...); err != nil {
		p.Close()
		return nil, err
	}
	if cfg.Progress != nil {
		p.others.Go(p.report)
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
	err := p.over(p.closed)
	if err == nil {
		p.fit(workers, p.spares, nil)
	}
	return err
}

// fit makes or dismisses workers. p.mu is held.
func (p *Pool) fit(size, spares int, first chan<- error) {
	for p.size, p.spares = size, spares; p.have < size+spares; p.have++ {
		p.places.Go(func() { p.keep(first) })
	}
	for len(p.idle) > 0 && p.surplus() {
		p.dismiss(p.idle[0])
	}
	p.serve()
}

// Shutdown refuses new calls with os.ErrClosed, waits until those that were
// accepted have come to their end, and then ends the workers, which run what they
// gave to [AtExit]: Python's close and join. If ctx ends first it returns
// ctx.Err(), and Close must be called.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	gone := make(chan struct{})
	go func() { // ends with Close, at the latest
		defer close(gone)
		p.calls.Wait()
		p.mu.Lock()
		p.fit(0, 0, nil)
		p.mu.Unlock()
		p.places.Wait()
	}()
	select {
	case <-gone:
		return p.Close()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the pool at once: calls that run or wait fail with os.ErrClosed,
// the workers are killed, and it returns when all are gone. It may be called
// more than once.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.stop()
	p.mu.Unlock()
	p.places.Wait()
	p.others.Wait()
	return nil
}

// stop lets the keepers kill the workers, and sends away all calls that wait for
// one. p.mu is held.
func (p *Pool) stop() {
	p.end()
	for _, c := range p.waiting {
		close(c)
	}
	p.waiting = nil
}

// enter accepts a call of h, or a Map, and tells how many workers run calls:
// Shutdown waits until p.calls has it no more.
func (p *Pool) enter(ctx context.Context, h *handler) (size int, err error) {
	if ctx == nil {
		panic("pool: nil context") // here: a panic in a goroutine of ours ends the program
	}
	if h.unfit != "" && p.codec == gob {
		return 0, fmt.Errorf("pool: %s: %s: it cannot travel by package gob", h.name, h.unfit)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err = p.over(p.closed); err == nil {
		p.calls.Add(1)
	}
	return p.size, err
}
