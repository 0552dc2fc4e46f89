package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// worker is the parent's side of one worker process. Whoever has the lease
// uses the rings; the rest is guarded by the pool's mutex.
type worker struct {
	proc    *proc.Process
	stop    context.CancelFunc // tells the process to end
	calls   *shm.RingWriter
	replies *shm.RingReader
	counts  *shm.Shared[counters]
	stderr  *stderr
	owned   []io.Closer // what of it is to be closed

	greeted uint64 // what it had consumed when it was ready
	before  uint64 // and before the last call
	call    uint64 // number of the last call
	items   uint64 // arguments that were sent
	pairs   int    // up to how many leases its caller may spin
	spin    bool   // for this lease: there is a CPU for a caller that spins
	crowd   bool   // for this lease: there are waits for every P

	leased bool
	doomed bool          // must not have another call
	last   bool          // its place goes with it
	free   chan struct{} // closed when it is out of the pool and nobody has the lease
}

// start makes a worker with its rings. When it returns the worker has run Init,
// and both sides own their ends of the rings: a death is seen from now on.
func (p *Pool) start() (_ *worker, err error) {
	w := &worker{free: make(chan struct{})}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(p.life)
	defer func() {
		if err != nil {
			w.bury()
		}
	}()
	a := workerArgs{Codec: p.cfg.Codec}
	if w.calls, a.Calls, err = shm.NewRing(ringSize); err != nil {
		return nil, err
	}
	defer a.Calls.Close()
	w.owned = append(w.owned, w.calls)
	if a.Replies, w.replies, err = shm.NewRing(ringSize); err != nil {
		return nil, err
	}
	defer a.Replies.Close()
	w.owned = append(w.owned, w.replies)
	if w.counts, err = shm.New[counters](nil); err != nil {
		return nil, err
	}
	a.Counts = w.counts
	w.owned = append(w.owned, w.counts)
	cmd := &proc.Cmd{Name: "pool worker", CPUs: p.cfg.CPUs, WaitDelay: p.cfg.WaitDelay}
	if w.stderr, cmd.Stderr, err = p.forward(); err != nil {
		return nil, err
	}
	w.owned = append(w.owned, w.stderr)
	w.proc, err = p.cfg.Init.start(ctx, cmd, a)
	cmd.Stderr.Close()
	if err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	w.stderr.pid.Store(int64(w.proc.Pid()))
	// Until both sides own their ends of the rings, these don't tell of a death.
	go func() { <-w.proc.Done(); w.stop() }()
	err = roundTrip(ctx, p, w, initCall, 0, nothing, nothing, new(struct{}), new(struct{}))
	if err == errNotBegun {
		err = w.end(initCall.name)
	}
	w.greeted, w.items, w.pairs = w.calls.Consumed(), 0, pairs(w.proc.Pid())
	return w, err
}

// begun reports whether the worker took a call.
func (w *worker) begun() bool { return w.calls.Consumed() != w.greeted }

// bury frees what a worker has; its process is killed if it still runs.
func (w *worker) bury() {
	w.stop()
	if w.proc != nil {
		w.proc.Kill()
		<-w.proc.Done()
		w.proc.Release()
	}
	for _, c := range w.owned {
		c.Close()
	}
}

// end is the error for a call whose worker has died. A process that gave up its
// rings but lives, because it executes another program now, is killed.
func (w *worker) end(name string) error {
	w.proc.Kill()
	state, err := w.proc.Wait(context.Background())
	return &WorkerError{Func: name, Pid: w.proc.Pid(), State: state, Stderr: w.stderr.read(), Err: err}
}

// errNotBegun is what a call gets of a worker that died before it took it.
var errNotBegun = errors.New("pool: the worker died before the call began")

// ask sends a worker a request and waits for its reply, which is still to be
// received.
func (p *Pool) ask(ctx context.Context, w *worker, h head, payload []byte) (reply head, err error) {
	if d, ok := ctx.Deadline(); ok {
		h.left = uint64(max(time.Until(d), 1))
	}
	w.call++
	w.items += max(h.items, 1)
	h.call = w.call
	w.replies.SetSpin(-1)
	if w.spin {
		h.flags |= flagSpin
		w.replies.SetSpin(0)
	}
	w.before = w.calls.Consumed()
	err = send(ctx, w.calls, h, payload)
	if w.crowd {
		runtime.Gosched()
	}
	if err == nil || errors.Is(err, shm.ErrPeerDead) {
		// A worker that dies after its reply has still replied.
		reply, err = peek(ctx, w.replies)
	}
	if err == nil && reply.call != w.call {
		err = fmt.Errorf("pool: reply to call %d, want %d: %w", reply.call, w.call, shm.ErrCorrupt)
	}
	return reply, err
}

// lost is the error for a call whose request or reply did not come through. The
// worker is doomed: if it lives it is in the middle of something that nobody
// waits for, and its late reply must not meet another call.
func (p *Pool) lost(w *worker, name string, err error) error {
	p.mu.Lock()
	w.doomed = true
	over := p.over(false)
	p.mu.Unlock()
	switch {
	case !errors.Is(err, shm.ErrPeerDead) && w.proc.Alive():
		w.stop() // one that dies by itself would be said to have been told to
		return err
	case over != nil:
		return over
	case w.calls.Consumed() == w.before:
		return errNotBegun
	}
	return w.end(name)
}
