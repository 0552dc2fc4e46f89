package pool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
)

// chunksPerWorker is into how many chunks a worker's share of a Map is cut: so
// few that a chunk's cost is spread, so many that a slow one holds nobody up.
const chunksPerWorker = 4

// Map runs f on each of in, spread over the workers of p, and returns the
// results in the same order. It blocks until all are done or ctx ends. After a
// first error, which is returned as by Call (Item of a TaskError tells which of
// in it was), no more are begun. An empty in gives an empty result.
func (f *Func[In, Out]) Map(ctx context.Context, p *Pool, in []In) ([]Out, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.exit()
	p.mu.Lock()
	size, chunk := p.size, p.cfg.Chunk
	p.mu.Unlock()
	if chunk == 0 {
		chunk = max(1, (len(in)+chunksPerWorker*size-1)/(chunksPerWorker*size))
	}
	out := make([]Out, len(in))
	var mu sync.Mutex
	var first error
	next := 0
	take := func() (from, to int) {
		mu.Lock()
		defer mu.Unlock()
		if first != nil {
			return 0, 0
		}
		from = next
		next = min(next+min(chunk, len(in)), len(in))
		return from, next
	}
	fail := func(from int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if first != nil {
			return
		}
		if t := (*TaskError)(nil); errors.As(err, &t) {
			t.Item += from
		}
		first = err
	}
	var all sync.WaitGroup
	for range min(size, len(in)) {
		all.Go(func() {
			for from, to := take(); from < to; from, to = take() {
				if err := f.chunk(ctx, p, in[from:to], out[from:to]); err != nil {
					fail(from, err)
				}
			}
		})
	}
	if all.Wait(); first != nil {
		return nil, first
	}
	return out, nil
}

// chunk is call for several arguments.
func (f *Func[In, Out]) chunk(ctx context.Context, p *Pool, in []In, out []Out) error {
	payload, err := encodeAll(f.in, p.codec, in)
	if err != nil {
		return fmt.Errorf("pool: %s: encoding the arguments: %w", f.name, err)
	}
	for died := 0; ; {
		w, err := p.lease(ctx)
		if err != nil {
			return err
		}
		h := head{what: f.id, items: uint64(len(in)), left: left(ctx)}
		reply, buf, err := p.roundTrip(ctx, w, f.name, h, payload, w.in)
		switch w.in = thin(buf); {
		case err != nil:
		case reply.what != replyOK:
			err = failed(f.name, buf)
		default:
			if err = decodeAll(f.out, p.codec, buf, out); err != nil {
				err = fmt.Errorf("pool: %s: decoding the results: %w", f.name, err)
			}
		}
		p.giveBack(w)
		if err == nil || !p.again(err, &died) {
			return err
		}
	}
}

// MapSeq runs f on what in yields and yields the results in the same order,
// each as soon as it and those before it are there: Python's imap. in is read
// by another goroutine, and no further ahead of the loop than twice as many
// chunks as there are workers: it may be endless.
//
// What fails yields its error, as by Call, in the place of its result (a chunk
// one for all of its results), and the loop goes on; an error of ctx or of the
// pool is the last. A loop that ends early cancels what runs, waits until in has
// come to its next value, and stops it.
func (f *Func[In, Out]) MapSeq(ctx context.Context, p *Pool, in iter.Seq[In]) iter.Seq2[Out, error] {
	return f.stream(ctx, p, in, true)
}

// MapUnordered is [Func.MapSeq] that yields results as they come; it waits for
// each, and ends with ctx, as that does. Python's imap_unordered.
func (f *Func[In, Out]) MapUnordered(ctx context.Context, p *Pool, in iter.Seq[In]) iter.Seq2[Out, error] {
	return f.stream(ctx, p, in, false)
}

// part is a chunk of a stream on its way.
type part[In, Out any] struct {
	in   []In
	out  []Out
	err  error
	done chan struct{}
}

func (f *Func[In, Out]) stream(ctx context.Context, p *Pool, in iter.Seq[In], ordered bool) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		var none Out
		if err := p.enter(); err != nil {
			yield(none, err)
			return
		}
		defer p.exit()
		ctx, cancel := context.WithCancel(ctx)
		p.mu.Lock()
		window := 2 * p.size
		p.mu.Unlock()
		room := make(chan struct{}, window) // one for each part on its way
		parts := make(chan *part[In, Out], window)
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		all.Go(func() { f.feed(ctx, p, in, ordered, room, parts) })
		for c := range parts {
			<-c.done
			for _, out := range c.out {
				if !yield(out, nil) {
					return
				}
			}
			if c.err != nil && (!yield(none, c.err) || fatal(ctx, p, c.err)) {
				return
			}
			<-room
		}
	}
}

// fatal reports whether an error is about more than one call.
func fatal(ctx context.Context, p *Pool, err error) bool {
	return ctx.Err() != nil || p.life.Err() != nil || errors.Is(err, ErrBroken)
}

// feed cuts in into parts, runs them, and sends them on: when they are begun, or
// when they are done.
func (f *Func[In, Out]) feed(ctx context.Context, p *Pool, in iter.Seq[In], ordered bool, room chan struct{}, parts chan *part[In, Out]) {
	defer close(parts)
	var all sync.WaitGroup
	defer all.Wait()
	c := &part[In, Out]{done: make(chan struct{})}
	begin := func() bool {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		run := c
		c = &part[In, Out]{done: make(chan struct{})}
		if ordered {
			parts <- run
		}
		all.Go(func() {
			out := make([]Out, len(run.in))
			if run.err = f.chunk(ctx, p, run.in, out); run.err == nil {
				run.out = out
			}
			close(run.done)
			if !ordered {
				parts <- run
			}
		})
		return true
	}
	for v := range in {
		if c.in = append(c.in, v); len(c.in) >= max(p.cfg.Chunk, 1) && !begin() || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil { // the last part says so
		c.err = ctx.Err()
		close(c.done)
		select {
		case parts <- c:
		default:
		}
	} else if len(c.in) > 0 {
		begin()
	}
}
