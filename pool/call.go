package pool

import (
	"context"
	"errors"
	"fmt"
	"time"
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
// buffer again and again. After an error *out is undefined.
func (f *Func[In, Out]) CallInto(ctx context.Context, p *Pool, in In, out *Out) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.exit()
	return f.call(ctx, p, in, out)
}

func (f *Func[In, Out]) call(ctx context.Context, p *Pool, in In, out *Out) error {
	for died := 0; ; {
		w, err := p.lease(ctx)
		if err != nil {
			return err
		}
		err = f.roundTrip(ctx, p, w, in, out)
		p.giveBack(w)
		if err == nil || !p.again(err, &died) {
			return err
		}
	}
}

func (f *Func[In, Out]) roundTrip(ctx context.Context, p *Pool, w *worker, in In, out *Out) error {
	payload, err := encode(f.in, p.codec, w.out[:0], in)
	if err != nil {
		return fmt.Errorf("pool: %s: encoding the argument: %w", f.name, err)
	}
	if f.in == formMemory || f.in == formString {
		w.out = thin(payload)
	}
	buf := w.in
	if f.out == formBytes {
		buf = *any(out).(*[]byte) // the reply is the result
	}
	reply, buf, err := p.roundTrip(ctx, w, f.name, head{what: f.id, left: left(ctx)}, payload, buf)
	if f.out != formBytes {
		w.in = thin(buf)
	}
	if err != nil {
		return err
	}
	if reply.what != replyOK {
		return failed(f.name, buf)
	}
	if err := decode(f.out, p.codec, buf, out); err != nil {
		return fmt.Errorf("pool: %s: decoding the result: %w", f.name, err)
	}
	return nil
}

// again reports whether a call is begun again. A worker that died before it took
// the request is nobody's failure: another one gets it.
func (p *Pool) again(err error, died *int) bool {
	if err == errNotBegun {
		return true
	}
	if w := (*WorkerError)(nil); !errors.As(err, &w) || *died >= p.cfg.Retries {
		return false
	}
	*died++
	p.mu.Lock()
	p.past.Retried++
	p.mu.Unlock()
	return true
}

// left is the time until ctx's deadline, for the worker; 0: it has none.
func left(ctx context.Context) uint64 {
	if d, ok := ctx.Deadline(); ok {
		return uint64(max(time.Until(d), 1))
	}
	return 0
}

// thin doesn't keep what one large message needed when smaller ones follow.
func thin(buf []byte) []byte {
	if cap(buf) > 4*ringSize && len(buf) < cap(buf)/4 {
		return nil
	}
	return buf
}

// A Pending is a call that runs: Python's AsyncResult.
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
	if c.err = p.enter(); c.err != nil {
		close(c.done)
		return c
	}
	go func() {
		defer p.exit()
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
		return c.out, c.err
	default:
	}
	select {
	case <-c.done:
		return c.out, c.err
	case <-ctx.Done():
		return out, ctx.Err()
	}
}
