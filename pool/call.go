package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Call runs f on in in a worker of p and returns what f returns. It blocks
// until a worker is idle and has answered, or ctx ends.
//
// Errors: a *TaskError if f returned an error or panicked; a *WorkerError if
// the worker died; ctx.Err() if ctx ended first: the worker is then killed and
// replaced, as nobody knows how far it got; os.ErrClosed after Close;
// ErrBroken; the encoding's error if in can't be encoded, and nothing ran.
func (f *Func[In, Out]) Call(ctx context.Context, p *Pool, in In) (out Out, err error) {
	err = p.call(ctx, f.name, head{what: f.id, form: formOne},
		func(buf []byte) ([]byte, error) { return f.in.append(buf, in) },
		func(reply []byte) (err error) { out, err = f.out.decode(reply); return err })
	return out, err
}

// call leases a worker and makes one round trip. A worker that died before it
// took the request is nobody's failure: another one gets it.
func (p *Pool) call(ctx context.Context, name string, h head, encode func([]byte) ([]byte, error), decode func([]byte) error) error {
	for {
		w, err := p.lease(ctx)
		if err != nil {
			return err
		}
		if err = p.roundTrip(ctx, w, name, h, encode, decode); !errors.Is(err, errNotBegun) {
			return err
		}
	}
}

// chunksPerWorker is into how many chunks a worker's share of a Map is cut: so
// few that a chunk's cost is spread, so many that a slow one holds nobody up.
const chunksPerWorker = 4

// Map runs f on each of in, spread over the workers of p, and returns the
// results in the same order. It blocks until all are done or ctx ends. After a
// first error, which is returned as by Call (Item of a TaskError tells which of
// in it was), no more are begun. An empty in gives an empty result.
func (f *Func[In, Out]) Map(ctx context.Context, p *Pool, in []In) ([]Out, error) {
	m := mapping{size: (len(in) + chunksPerWorker*p.cfg.Workers - 1) / (chunksPerWorker * p.cfg.Workers), rest: len(in)}
	out := make([]Out, len(in))
	var all sync.WaitGroup
	for range min(p.cfg.Workers, len(in)) {
		all.Go(func() {
			for from, to := m.take(); from < to; from, to = m.take() {
				m.fail(from, f.chunk(ctx, p, in[from:to], out[from:to]))
			}
		})
	}
	all.Wait()
	if m.err != nil {
		return nil, m.err
	}
	return out, nil
}

func (f *Func[In, Out]) chunk(ctx context.Context, p *Pool, in []In, out []Out) error {
	return p.call(ctx, f.name, head{what: f.id, form: formMany},
		func(buf []byte) ([]byte, error) { return f.in.appendAll(buf, in) },
		func(reply []byte) error {
			got, err := f.out.decodeAll(reply)
			if err == nil && len(got) != len(out) {
				err = fmt.Errorf("%d results for %d arguments", len(got), len(in))
			}
			copy(out, got)
			return err
		})
}

// mapping is the progress of a Map: what is handed out, and the first error.
type mapping struct {
	size int // of a chunk

	mu   sync.Mutex
	next int // first argument not handed out
	rest int // number of arguments not handed out
	err  error
}

// take hands out a chunk; an empty one says that there is no more to do.
func (m *mapping) take() (from, to int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, 0
	}
	n := min(m.size, m.rest)
	from = m.next
	m.next += n
	m.rest -= n
	return from, m.next
}

// fail keeps the first error, if err is one, of the chunk at from.
func (m *mapping) fail(from int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil || m.err != nil {
		return
	}
	if t := (*TaskError)(nil); errors.As(err, &t) {
		t.Item += from
	}
	m.err = err
}
