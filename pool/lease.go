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
	calls   *shm.RingWriter
	replies *shm.RingReader

	call   uint64 // number of the last call
	served uint64 // calls that were answered
	out    []byte // for encoding, used again
	in     []byte // for decoding, likewise

	// dead ends when the process has: it wakes the call that waits for it.
	dead context.Context
	die  context.CancelFunc

	leased bool
	doomed bool          // killed by the call that has it
	gone   bool          // withdrawn from the pool
	free   chan struct{} // closed when the last lease of a gone worker ends
}

// ringSize holds several pieces of a large message each way.
const ringSize = 256 << 10

// start makes a worker with its rings; it is ready to serve.
func (p *Pool) start() (_ *worker, err error) {
	w := &worker{free: make(chan struct{})}
	w.dead, w.die = context.WithCancel(context.Background())
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
	// The context is the pool's life: its end terminates the worker.
	cmd := &proc.Cmd{Name: "pool worker", CPUs: p.cfg.CPUs}
	w.proc, err = workerFunc.StartCmd(p.life, cmd, a)
	return w, err
}

// bury frees what a worker has; its process is killed if it still runs.
func (w *worker) bury() {
	w.die()
	if w.proc != nil {
		w.proc.Kill()
		<-w.proc.Done()
		w.proc.Release()
	}
	if w.calls != nil {
		w.calls.Close()
	}
	if w.replies != nil {
		w.replies.Close()
	}
}

// ended is the error for a call whose worker has died.
func (w *worker) ended(name string) *WorkerError {
	state, err := w.proc.Wait(context.Background())
	return &WorkerError{Func: name, Pid: w.proc.Pid(), State: state, Err: err}
}

// errNotBegun is the answer of a worker that died before it took the call.
var errNotBegun = errors.New("pool: the worker died before the call began")

// roundTrip sends one request and waits for its reply. The lease ends with it:
// the worker is back in the pool, or it is dead and gets replaced.
func (p *Pool) roundTrip(ctx context.Context, w *worker, name string, h head,
	encode func([]byte) ([]byte, error), decode func([]byte) error) (err error) {
	defer p.giveBack(w)
	if w.out, err = encode(w.out[:0]); err != nil {
		return fmt.Errorf("pool: %s: encoding the argument: %w", name, err)
	}
	wait := w.dead
	if ctx.Done() != nil {
		both, cancel := context.WithCancel(w.dead)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		wait = both
	}
	w.call++
	h.call = w.call
	consumed := w.calls.Consumed()
	err = send(wait, w.calls, h, w.out)
	var reply head
	if err == nil {
		// A worker that dies after its reply has still replied: what is
		// committed is read before the end of wait counts.
		reply, w.in, err = receive(wait, w.replies, w.in)
	}
	if errors.Is(err, shm.ErrPeerDead) {
		<-wait.Done() // its keeper will see it in a moment, and how it ended
	}
	switch {
	case err == nil && reply.call == w.call:
		w.served++
		return verdict(name, reply, w.in, decode)
	case err == nil:
		err = fmt.Errorf("pool: reply to call %d, want %d: %w", reply.call, w.call, shm.ErrCorrupt)
	case w.dead.Err() != nil && p.life.Err() != nil:
		return fmt.Errorf("pool: %w", os.ErrClosed)
	case w.dead.Err() != nil && w.calls.Consumed() == consumed:
		return errNotBegun
	case w.dead.Err() != nil:
		return w.ended(name)
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	// The worker is alive but in the middle of something that nobody waits for.
	// Its late reply must not meet another call: it ends here.
	w.doomed = true
	w.proc.Kill()
	return err
}

// verdict is what a reply says.
func verdict(name string, h head, payload []byte, decode func([]byte) error) error {
	if h.what == replyOK {
		if err := decode(payload); err != nil {
			return fmt.Errorf("pool: %s: decoding the result: %w", name, err)
		}
		return nil
	}
	t, err := gobDecode[TaskError](payload)
	if err != nil {
		return fmt.Errorf("pool: %s failed, and its error can't be decoded: %w", name, err)
	}
	t.Func = name
	return &t
}
