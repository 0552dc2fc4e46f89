package pool

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
)

// chunksPerWorker is into how many chunks a worker's share of a Map is cut: so
// few that a chunk's cost is spread, so many that a slow one holds nobody up.
const chunksPerWorker = 4

// Map runs f on each of in, spread over the workers of p, and returns the
// results in the same order. It blocks until all are done or ctx ends. After a
// first error, which is returned as by Call (Item of a TaskError or WorkerError
// tells which of in it was), no more are begun. An empty in gives an empty result.
func (f *Func[In, Out]) Map(ctx context.Context, p *Pool, in []In) ([]Out, error) {
	size, err := p.enter(ctx, f.handler)
	if err != nil {
		return nil, err
	}
	defer p.calls.Done()
	chunk := min(p.cfg.Chunk, len(in))
	if chunk == 0 {
		chunk = (len(in) + chunksPerWorker*size - 1) / (chunksPerWorker * size)
	}
	out := make([]Out, len(in))
	var next atomic.Int64 // the first argument that nobody has
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for range min(size, len(in)) {
		all.Go(func() {
			for {
				to := int(next.Add(int64(chunk)))
				from := to - chunk
				if from >= len(in) {
					return
				}
				to = min(to, len(in))
				if err := f.chunk(ctx, p, from, in[from:to], out[from:to:to]); err != nil {
					once.Do(func() { first = err })
					next.Store(int64(len(in)))
				}
			}
		})
	}
	if all.Wait(); first != nil {
		return nil, first
	}
	return out, nil
}

// chunk is call for several arguments, of which the first is number from.
func (f *Func[In, Out]) chunk(ctx context.Context, p *Pool, from int, in []In, out []Out) error {
	return p.try(ctx, func(w *worker) error {
		got, before := out, w.counts.Ptr().Items.Load()
		err := roundTrip(ctx, p, w, f.handler, len(in), f.ins, f.outs, &in, &got)
		if n := copy(out, got); err == nil && (n < len(out) || n < len(got)) {
			err = fmt.Errorf("pool: %s: %d results, want %d", f.name, len(got), len(out))
		}
		switch e := err.(type) {
		case *TaskError:
			e.Item += from
			e.at = fmt.Sprintf(": item %d", e.Item)
		case *WorkerError:
			e.Item = from + int(min(w.counts.Ptr().Items.Load()-before, uint64(len(in)-1)))
			e.at = fmt.Sprintf(": item %d", e.Item)
		}
		return err
	})
}

// MapSeq runs f on what in yields and yields the results in the same order,
// each as soon as it and those before it are there: Python's imap. in is read
// by another goroutine, and no further ahead of the loop than twice as many
// chunks as there are workers: it may be endless.
//
// A chunk goes to a worker when it is full or in ends: with the default of
// [Config.Chunk] that is each value as soon as in has it.
//
// What fails yields its error, as by Call, in the place of its result (a chunk
// one for all of its results), and the loop goes on. When ctx or the pool ends,
// that error comes at once, as the last, whatever in does and whatever results are
// there. However the loop ends, what runs is cancelled, and the loop waits until in
// has come to its next value, where it is stopped, or to its end: an in that may
// block for long should look at ctx too. A panic of in becomes the loop's, after the
// results of what in had yielded.
func (f *Func[In, Out]) MapSeq(ctx context.Context, p *Pool, in iter.Seq[In]) iter.Seq2[Out, error] {
	return f.stream(ctx, p, in, true)
}

// MapUnordered is [Func.MapSeq] that yields results as they come; it waits for
// each, and ends with ctx, as that does. Python's imap_unordered.
func (f *Func[In, Out]) MapUnordered(ctx context.Context, p *Pool, in iter.Seq[In]) iter.Seq2[Out, error] {
	return f.stream(ctx, p, in, false)
}

// results are those of a chunk, or a zero one with its error.
type results[Out any] struct {
	out []Out
	err error
}

func (f *Func[In, Out]) stream(ctx context.Context, p *Pool, in iter.Seq[In], ordered bool) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		var none Out
		size, err := p.enter(ctx, f.handler)
		if err != nil {
			yield(none, err)
			return
		}
		defer p.calls.Done()
		ctx, cancel := context.WithCancel(ctx)
		room := make(chan struct{}, 2*size) // one for each chunk on its way
		chunks := make(chan chan results[Out], cap(room))
		var running, feeding sync.WaitGroup
		begun, next := 0, []In(nil) // arguments
		begin := func(in []In) bool {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				return false
			}
			from := begun
			begun += len(in)
			c := make(chan results[Out], 1)
			if ordered {
				chunks <- c
			}
			running.Go(func() {
				r := results[Out]{out: make([]Out, len(in))}
				if r.err = f.chunk(ctx, p, from, in, r.out); r.err != nil {
					r.out = make([]Out, 1)
				}
				if c <- r; !ordered {
					chunks <- c
				}
			})
			return true
		}
		var fell any
		ended := false
		feeding.Go(func() {
			defer close(chunks)
			defer running.Wait()
			defer func() {
				if !ended {
					fell = recover()
				}
				if len(next) > 0 {
					begin(next)
				}
			}()
			for v := range in {
				if next = append(next, v); len(next) >= p.cfg.Chunk {
					if !begin(next) {
						break
					}
					next = nil
				}
			}
			ended = true
		})
		defer func() { // as by iter.Pull
			switch feeding.Wait(); {
			case fell != nil:
				panic(fell)
			case !ended:
				runtime.Goexit()
			}
		}()
		defer cancel()
		for more := true; more && ctx.Err() == nil && p.life.Err() == nil; {
			var c chan results[Out]
			select {
			case c, more = <-chunks:
			case <-ctx.Done():
			case <-p.life.Done():
			}
			if c == nil {
				continue
			}
			r := <-c
			if r.err != nil && (ctx.Err() != nil || p.life.Err() != nil) {
				continue // it comes last, once
			}
			for _, out := range r.out {
				if !yield(out, r.err) {
					return
				}
			}
			<-room
		}
		if err := ctx.Err(); err != nil {
			yield(none, err)
		} else if p.life.Err() != nil {
			yield(none, p.over(false))
		}
	}
}
