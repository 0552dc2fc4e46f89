package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// workerArgs are the worker's ends of its two rings, and what else it needs.
type workerArgs struct {
	Calls   *shm.RingReader
	Replies *shm.RingWriter
	Counts  *shm.Shared[counters]
	Codec   string
}

var workerFunc = proc.Register("github.com/rawipc/rawipc/pool.worker", func(ctx context.Context, a workerArgs) error {
	return serveCalls(ctx, a, func() error { return nil })
})

// serveCalls is the whole life of a worker: it serves calls, one after the
// other, until ctx ends.
func serveCalls(ctx context.Context, a workerArgs, init func() error) error {
	// Ctrl-C goes to all processes of a terminal. The parent decides what it
	// means; a caught signal, unlike an ignored one, is no affair of programs
	// that functions start.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	if _, _, err := receive(ctx, a.Calls, nil); err != nil {
		return quiet(ctx, err)
	}
	codec, err := codecNamed(a.Codec)
	if err == nil {
		err = guard(init)
	}
	counts := a.Counts.Ptr()
	ready, out, _ := replyTo(head{}, nil, err)
	if err := send(ctx, a.Replies, ready, out); err != nil || ready.what != replyOK {
		return quiet(ctx, err)
	}
	// A wait without a context allocates nothing, so an idle worker is ended here.
	defer context.AfterFunc(ctx, func() {
		if counts.Func.Load() == 0 {
			os.Exit(0)
		}
	})()
	itemDone := func() { counts.Items.Add(1) }
	var in, buf []byte
	for ctx.Err() == nil {
		var h head
		if h, in, err = receive(context.Background(), a.Calls, in); err != nil {
			return quiet(ctx, err)
		}
		counts.Since.Store(time.Now().UnixNano())
		counts.Func.Store(h.what)
		out, err := run(ctx, codec, h, in, buf[:0], itemDone)
		counts.Func.Store(0)
		a.Calls.SetSpin(-1)
		if h.flags&flagSpin != 0 {
			a.Calls.SetSpin(0)
		}
		reply, out, own := replyTo(h, out, err)
		if err := send(ctx, a.Replies, reply, out); err != nil {
			return quiet(ctx, err)
		}
		if own || h.items > 0 {
			continue
		}
		if in = thin(in); cap(out) <= ringSize && (len(in) == 0 || len(out) == 0 || &in[0] != &out[0]) {
			buf = out
		}
	}
	return nil
}

// quiet makes nothing of errors that come of the worker's having been told to
// end.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// replyTo is the answer to h; own says that its payload is no buffer.
func replyTo(h head, out []byte, err error) (reply head, payload []byte, own bool) {
	reply = head{call: h.call, what: replyOK, items: h.items}
	if err == nil {
		return reply, out, false
	}
	reply.what = replyError
	if out, err = (gobCodec{}).Marshal(failureOf(err)); err != nil {
		out, _ = gobCodec{}.Marshal(failure{Msg: err.Error()})
	}
	return reply, out, true
}

// guard makes an error, with its stack, of a panic in f.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

// run calls the function; a panic becomes an error with its stack.
func run(ctx context.Context, c Codec, h head, in, buf []byte, itemDone func()) (out []byte, err error) {
	f := registered(h.what)
	if f == nil {
		return nil, errors.New("the function is not registered in the worker: Register it in a package variable, or in main before proc.Dispatch")
	}
	if h.left != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(h.left))
		defer cancel()
	}
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, &panicError{v, debug.Stack()}
		}
	}()
	if h.items > 0 {
		return f.many(ctx, c, in, int(h.items), itemDone)
	}
	out, err = f.one(ctx, c, in, buf)
	itemDone()
	return out, err
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

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
