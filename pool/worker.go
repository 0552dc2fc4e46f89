package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// workerArgs are the worker's ends of its two rings.
type workerArgs struct {
	Calls   *shm.RingReader
	Replies *shm.RingWriter
}

var workerFunc = proc.Register("github.com/rawipc/rawipc/pool.worker", work)

// work is the whole life of a worker: it serves calls, one after the other,
// until the caller closes the ring or ctx ends.
func work(ctx context.Context, a workerArgs) error {
	var in, out []byte
	for {
		var h head
		var err error
		if h, in, err = receive(ctx, a.Calls, in); err != nil {
			if err == io.EOF || ctx.Err() != nil {
				return nil
			}
			return err
		}
		reply := head{call: h.call, what: replyOK}
		if out, err = run(ctx, h, in, out[:0]); err != nil {
			reply.what = replyError
			if out, err = gobAppend(out[:0], taskError(err)); err != nil {
				return err
			}
		}
		if err := send(ctx, a.Replies, reply, out); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// run calls the function; a panic becomes an error with its stack.
func run(ctx context.Context, h head, in, buf []byte) (out []byte, err error) {
	registry.RLock()
	f := registry.byID[h.what]
	registry.RUnlock()
	if f == nil {
		return nil, fmt.Errorf("no function of id %#x is registered in the worker", h.what)
	}
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, &panicError{v, debug.Stack()}
		}
	}()
	if h.form == formMany {
		return f.many(ctx, in, buf)
	}
	return f.one(ctx, in, buf)
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// taskError is what travels back of an error. Func is filled in at the other
// end.
func taskError(err error) TaskError {
	t := TaskError{Msg: err.Error()}
	if item := (*itemError)(nil); errors.As(err, &item) {
		t.Item = item.item
	}
	if p := (*panicError)(nil); errors.As(err, &p) {
		t.Stack = userStack(p.stack)
	}
	return t
}

// userStack cuts the frames of the recovery off, so that the function which
// panicked stands on top.
func userStack(stack []byte) []byte {
	first, rest, _ := bytes.Cut(stack, []byte("\n"))
	if i := bytes.LastIndex(rest, []byte("\npanic(")); i >= 0 {
		rest = rest[i+1:]
		for range 2 { // the call of panic and its place
			_, rest, _ = bytes.Cut(rest, []byte("\n"))
		}
	}
	return append(append(first, '\n'), rest...)
}
