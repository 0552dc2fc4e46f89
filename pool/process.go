package pool

import (
	"context"
	"errors"
	"fmt"
	"os"

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

	call  uint64 // number of the last call
	items uint64 // arguments that were sent
	out   []byte // for encoding, used again
	in    []byte // for decoding, likewise
	spin  bool   // for this lease

	used    bool // had a call
	leased  bool
	doomed  bool          // its call was given up: it must not have another
	gone    bool          // out of the pool
	last    bool          // its place goes with it
	retired chan struct{} // closed when it shall end
	free    chan struct{} // closed when it is gone and nobody has the lease
}

// ringSize holds several pieces of a large message each way.
const ringSize = 256 << 10

// start makes a worker with its rings. When it returns the worker has run Init,
// and both sides own their ends of the rings: a death is seen from now on.
func (p *Pool) start() (_ *worker, err error) {
	w := &worker{free: make(chan struct{}), retired: make(chan struct{})}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(p.life)
	defer func() {
		if err != nil {
			w.bury()
		}
	}()
	var a workerArgs
	if w.calls, a.Calls, err = shm.NewRing(ringSize); err != nil {
		return nil, err
	}
	defer a.Calls.Close()
	if a.Replies, w.replies, err = shm.NewRing(ringSize); err != nil {
		return nil, err
	}
	defer a.Replies.Close()
	if w.counts, err = shm.New[counters](nil); err != nil {
		return nil, err
	}
	a.Counts, a.Codec = w.counts, p.cfg.Codec
	cmd := &proc.Cmd{Name: "pool worker", CPUs: p.cfg.CPUs, WaitDelay: p.cfg.WaitDelay}
	if w.stderr, cmd.Stderr, err = p.forward(); err != nil {
		return nil, err
	}
	start := p.cfg.Init.start
	if start == nil {
		start = workerFunc.StartCmd
	}
	w.proc, err = start(ctx, cmd, a)
	cmd.Stderr.Close()
	if err != nil {
		return nil, err
	}
	w.stderr.pid.Store(int64(w.proc.Pid()))
	boot, cancel := context.WithCancel(ctx) // until both sides own their ends
	defer cancel()
	go func() {
		select {
		case <-w.proc.Done():
			cancel()
		case <-boot.Done():
		}
	}()
	if err = send(boot, w.calls, head{}, nil); err == nil {
		var ready head
		if ready, w.in, err = receive(boot, w.replies, nil); err == nil && ready.what != replyOK {
			err = fmt.Errorf("pool: Init failed: %w", failed("Init", w.in))
		}
	}
	if errors.Is(err, shm.ErrPeerDead) || err != nil && !w.proc.Alive() && w.in == nil {
		err = w.end("Init", nil)
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

// bury frees what a worker has; its process is killed if it still runs.
func (w *worker) bury() {
	w.stop()
	if w.proc != nil {
		w.proc.Kill()
		<-w.proc.Done()
		w.proc.Release()
	}
	if w.stderr != nil {
		w.stderr.wait()
	}
	if w.calls != nil {
		w.calls.Close()
	}
	if w.replies != nil {
		w.replies.Close()
	}
	if w.counts != nil {
		w.counts.Close()
	}
}

// end is the error for a call whose worker has died.
func (w *worker) end(name string, after error) error {
	<-w.proc.Done()
	w.stderr.wait()
	state, err := w.proc.Wait(context.Background())
	if err == nil {
		err = after
	}
	return &WorkerError{Func: name, Pid: w.proc.Pid(), State: state, Stderr: w.stderr.last(), Err: err}
}

// errNotBegun is the answer of a worker that died before it took the call.
var errNotBegun = errors.New("pool: the worker died before the call began")

// roundTrip sends one request and receives its reply, whose payload is put into
// buf, or into the worker's own buffer. If the call is given up, the worker is
// doomed.
func (p *Pool) roundTrip(ctx context.Context, w *worker, name string, h head, payload, buf []byte) (head, []byte, error) {
	w.call++
	w.items += max(h.items, 1)
	h.call = w.call
	if w.spin {
		h.flags |= flagSpin
		w.replies.SetSpin(0)
	} else {
		w.replies.SetSpin(-1)
	}
	consumed := w.calls.Consumed()
	var reply head
	err := send(ctx, w.calls, h, payload)
	if err == nil || errors.Is(err, shm.ErrPeerDead) {
		// A worker that dies after its reply has still replied.
		reply, buf, err = receive(ctx, w.replies, buf)
	}
	switch {
	case err == nil && reply.call == w.call:
		return reply, buf, nil
	case errors.Is(err, shm.ErrPeerDead):
		w.doomed = true
		if p.life.Err() != nil {
			return reply, buf, fmt.Errorf("pool: %w", os.ErrClosed)
		}
		if w.calls.Consumed() == consumed {
			return reply, buf, errNotBegun
		}
		return reply, buf, w.end(name, nil)
	case err == nil:
		err = fmt.Errorf("pool: reply to call %d, want %d: %w", reply.call, w.call, shm.ErrCorrupt)
	}
	// The worker is alive but in the middle of something that nobody waits for.
	// Its late reply must not meet another call: it ends here.
	w.doomed = true
	w.stop()
	return reply, buf, err
}
