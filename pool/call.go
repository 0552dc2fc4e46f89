package pool

import (
	"context"
	"errors"
	"fmt"
)

// Call runs f on in in a worker of p and returns what f returns. It blocks
// until a worker is idle and has answered, or ctx ends.
//
// The context of f in the worker has ctx's deadline. When ctx ends before f has
// answered, Call returns, f's context is cancelled, and its worker ends: if f
// goes on regardless, by SIGKILL after Config.WaitDelay.
//
// Errors: a *TaskError if f returned an error or panicked; a *WorkerError if
// the worker died; ctx.Err(); os.ErrClosed after Close; ErrBroken; the
// encoding's error if in can't be encoded, and nothing ran.
func (f *Func[In, Out]) Call(ctx context.Context, p *Pool, in In) (out Out, err error) {
	err = f.CallInto(ctx, p, in, &out)
	return out, err
}

// CallInto is [Func.Call] that puts the result into *out; it waits, and ends with
// ctx, as that does. A []byte is put into the
// memory that *out has, if there is enough: who passes large ones uses one
// buffer again and again. It must not be in's: where Config.Retries lets the call be
// tried again, that would begin with a part of the dead worker's result. After an
// error *out is undefined. A nil out is an error.
func (f *Func[In, Out]) CallInto(ctx context.Context, p *Pool, in In, out *Out) error {
	if out == nil {
		return fmt.Errorf("pool: %s: CallInto: nil pointer for the result", f.name)
	}
	if _, err := p.enter(ctx, f.handler); err != nil {
		return err
	}
	defer p.calls.Done()
	return f.call(ctx, p, in, out)
}

func (f *Func[In, Out]) call(ctx context.Context, p *Pool, in In, out *Out) error {
	return p.try(ctx, func(w *worker) error {
		return roundTrip(ctx, p, w, f.handler, 0, f.in, f.out, &in, out)
	})
}

// try makes a request to an idle worker, and again to another one where that may
// be. A worker that died before it took the request is nobody's failure.
func (p *Pool) try(ctx context.Context, request func(*worker) error) error {
	for died := 0; ; {
		err := p.once(ctx, request)
		if err == errNotBegun {
			continue
		}
		if err == nil || !errors.As(err, new(*WorkerError)) || died >= p.cfg.Retries {
			return err
		}
		died++
		p.retried.Add(1)
	}
}

// once makes a request to an idle worker. One that ends in a panic, or its
// goroutine's end, may have left anything in the rings.
func (p *Pool) once(ctx context.Context, request func(*worker) error) error {
	w, err := p.lease(ctx)
	if err != nil {
		return err
	}
	whole := false
	defer func() { p.giveBack(w, whole) }()
	err = request(w)
	whole = true
	return err
}

// roundTrip sends a worker one request and receives its reply. If the call is
// given up, the worker is doomed.
func roundTrip[In, Out any](ctx context.Context, p *Pool, w *worker, h *handler, items int, fi, fo form, in *In, out *Out) error {
	payload, err := encode(fi, p.codec, in)
	if err != nil {
		return fmt.Errorf("pool: %s: encoding the argument: %w", h.name, err)
	}
	reply, lost := p.ask(ctx, w, head{what: h.id, items: uint64(items)}, payload)
	if lost == nil && reply.what == replyOK {
		lost, err = get(ctx, w.replies, reply, fo, p.codec, out)
	} else if lost == nil {
		var f failure
		if lost, err = get(ctx, w.replies, reply, form{}, gob, &f); err == nil && lost == nil {
			return f.task(h.name)
		}
	}
	if lost != nil {
		return p.lost(w, h.name, lost)
	}
	if err != nil {
		return fmt.Errorf("pool: %s: decoding the result: %w", h.name, err)
	}
	return nil
}

// A Pending is a call that runs: Python's AsyncResult. Its methods may be called
// concurrently, and again.
type Pending[Out any] struct {
	done chan struct{}
	out  Out
	err  error
}

// Go begins a call and returns at once. The call is as by Call, and ends at
// the latest with ctx or with the pool. Once Go has returned, Shutdown waits
// for the call.
func (f *Func[In, Out]) Go(ctx context.Context, p *Pool, in In) *Pending[Out] {
	c := &Pending[Out]{done: make(chan struct{})}
	if _, c.err = p.enter(ctx, f.handler); c.err != nil {
		close(c.done)
		return c
	}
	go func() {
		defer p.calls.Done()
		defer close(c.done)
		c.err = f.call(ctx, p, in, &c.out)
	}()
	return c
}

// Done returns a channel that is closed when the call is over.
func (c *Pending[Out]) Done() <-chan struct{} { return c.done }

// Wait blocks until the call is over and returns what Call would have. If ctx
// ends first, only the waiting ends, and the error is ctx.Err().
func (c *Pending[Out]) Wait(ctx context.Context) (out Out, err error) {
	select {
	case <-c.done:
	case <-ctx.Done():
		select {
		case <-c.done:
		default:
			return out, ctx.Err()
		}
	}
	return c.out, c.err
}
