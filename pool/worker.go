package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/shm"
)

// workerArgs are the worker's ends of its two rings, and what else it needs.
type workerArgs struct {
	Calls   *shm.RingReader
	Replies *shm.RingWriter
	Counts  *shm.Shared[counters]
	Codec   string
}

// server is the worker's side of a worker.
type server struct {
	workerArgs
	life  context.Context // the worker's, not that of a call
	head                  // of the request that is served
	init  func() error
	done  *atomic.Uint64 // arguments that were done with
	codec shm.Codec
	buf   []byte   // of the last []byte or chunk that came, used again
	last  *handler // whose turn it was
	item  int      // of the chunk that is served
	lost  error    // the rings can't be used any more
}

// work is the whole life of a worker: it serves calls, one after the other, the
// first of which runs init, until ctx ends.
func work(ctx context.Context, a workerArgs, init func() error) (err error) {
	// Ctrl-C goes to all processes of a terminal. The parent decides what it
	// means; a caught signal, unlike an ignored one, is no affair of programs
	// that functions start.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	counts := a.Counts.Ptr()
	s := &server{workerArgs: a, life: ctx, init: init, done: &counts.Items}
	if s.codec, err = shm.LookupCodec(a.Codec); err != nil {
		return err
	}
	// A wait without a context allocates nothing, so an idle worker is ended here.
	context.AfterFunc(ctx, func() {
		if counts.Func.Load() == 0 {
			leave()
			os.Exit(0)
		}
	})
	for ctx.Err() == nil && s.lost == nil {
		if s.head, s.lost = peek(context.Background(), a.Calls); s.lost == nil {
			counts.Since.Store(time.Now().UnixNano())
			counts.Func.Store(s.what)
			if err := s.serve(ctx); err != nil && s.lost == nil {
				s.fail(err)
			}
			counts.Func.Store(0)
		}
	}
	if leave(); ctx.Err() != nil {
		return nil // it was told to end
	}
	return s.lost
}

// serve runs the function that a request asks for, and replies, unless there is
// an error to reply with. A panic is one.
func (s *server) serve(ctx context.Context) (err error) {
	defer caught(&err)
	if s.left != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(s.left))
		defer cancel()
	}
	s.item = 0
	if s.call == 1 { // initCall
		return serve(ctx, s, nothing, nothing, func(context.Context, struct{}) (struct{}, error) { return struct{}{}, s.init() })
	}
	h := registered(s.what)
	if h == nil {
		_, s.lost = take(s.life, s.Calls, s.head, nil)
		return errors.New("the function is not registered in the worker: Register it in a package variable, or in main before proc.Dispatch")
	}
	if s.last != nil && s.last != h {
		s.last.forget()
	}
	s.last = h
	if s.items > 0 {
		return h.many(ctx, s)
	}
	return h.one(ctx, s)
}

// serve serves one request whose argument is an In.
func serve[In, Out any](ctx context.Context, s *server, fi, fo form, f func(context.Context, In) (Out, error)) error {
	var in In
	if fi.items {
		setItems(fi, &in, s.buf, 0)
	}
	lost, err := get(s.life, s.Calls, s.head, fi, s.codec, &in)
	if s.lost = lost; lost != nil || err != nil {
		return fmt.Errorf("decoding the argument: %w", errors.Join(lost, err))
	}
	out, err := f(ctx, in)
	if err != nil {
		return err
	}
	payload, err := encode(fo, s.codec, &out)
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	if s.items == 0 && s.call > 1 {
		more(s.done)
	}
	s.reply(replyOK, payload)
	if fi.items {
		s.buf = thin(allOf(fi, &in)[:len(memoryOf(fi, &in))], 1)
	}
	return nil
}

// thin doesn't keep what one large message needed when smaller ones follow.
func thin[T any](buf []T, size uintptr) []T {
	if uintptr(cap(buf))*size > 4*ringSize && len(buf) < cap(buf)/4 {
		return nil
	}
	return buf
}

func (s *server) reply(what uint64, payload []byte) {
	s.Calls.SetSpin(-1)
	if s.flags&flagSpin != 0 {
		s.Calls.SetSpin(0)
	}
	s.lost = send(s.life, s.Replies, head{call: s.call, what: what, items: s.items}, payload)
}

func (s *server) fail(err error) {
	payload, err := gob.Marshal(failureOf(err, s.item))
	if err != nil {
		payload, _ = gob.Marshal(failure{TaskError: TaskError{Msg: err.Error()}})
	}
	s.reply(replyError, payload)
}

var exits struct {
	sync.Mutex
	hooks []func()
}

// AtExit lets f run before the worker that calls it ends in good order: after
// Shutdown, as one of too many, or after enough calls. What was registered last
// runs first. All of it has Config.WaitDelay; it does not run in a worker that
// is killed, as by Close. AtExit is for functions that run in workers, and Init
// above all, not for what it has registered. It does not block, may be called
// concurrently, and panics if f is nil.
func AtExit(f func()) {
	if f == nil {
		panic("pool: AtExit: nil function")
	}
	exits.Lock()
	defer exits.Unlock()
	exits.hooks = append(exits.hooks, f)
}

// leave runs the hooks. A second call never returns: the first one's goroutine
// is about to end the process.
func leave() {
	exits.Lock()
	for _, f := range slices.Backward(exits.hooks) {
		f()
	}
}
