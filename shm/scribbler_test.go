package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// A process that writes whatever it likes over a ring's or a queue's memory, as
// fast as it can, and one that uses it meanwhile. It gets messages, none longer
// than what can be there, or typed errors; it does not hang, nor allocate much.

// A plaything is any of what can be scribbled over.
type plaything struct {
	W        *shm.RingWriter
	R        *shm.RingReader
	Queue    *shm.Queue[item]
	Messages *shm.MessageQueue
	Bytes    *shm.ObjectQueue[[]byte]
	Gob      *shm.ObjectQueue[parcel]
}

// parcel is what gob sends. It has no map: gob believes what a message says of
// the size of one.
type parcel struct {
	Name  string
	Parts []struct{ ID uint32 }
	Raw   []byte
}

// notes are where the user says what he does, out of the scribbler's reach.
type notes struct {
	Began     atomic.Int64 // of the call under way, or 0
	Call      atomic.Int64 // which
	Good, Bad atomic.Int64
	Took      atomic.Int64 // bytes that one call allocated, at most
	Opened    atomic.Int64 // handles on scribbled memory
	Hostile   atomic.Bool  // the scribbler is there
	Ready     atomic.Bool  // so is the user
}

type scribbleArgs struct {
	On    plaything
	Notes *shm.Shared[notes]
	For   time.Duration
	Seed  uint64
	Most  int64 // bytes that a call may allocate
}

type handed interface{ PassFiles() ([]*os.File, error) }

func (p *plaything) handle() handed {
	switch {
	case p.W != nil:
		return p.W
	case p.Queue != nil:
		return p.Queue
	case p.Messages != nil:
		return p.Messages
	case p.Bytes != nil:
		return p.Bytes
	}
	return p.Gob
}

// dup returns descriptors of our own.
func dup(h handed) ([]*os.File, error) {
	files, err := h.PassFiles()
	if err != nil {
		return nil, err
	}
	c, err := files[0].SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	if cerr := c.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil || err != nil {
		return nil, errors.Join(cerr, err)
	}
	return []*os.File{os.NewFile(uintptr(fd), "scribbled")}, nil
}

// again is the same thing, opened anew.
func (p *plaything) again() (q plaything, err error) {
	take := func(h interface{ TakeFiles([]*os.File) error }) {
		files, ferr := dup(p.handle())
		if err = errors.Join(err, ferr); err == nil {
			err = h.TakeFiles(files)
		}
	}
	switch {
	case p.W != nil:
		q.W, q.R = new(shm.RingWriter), new(shm.RingReader)
		take(q.W)
		take(q.R)
	case p.Queue != nil:
		q.Queue = new(shm.Queue[item])
		take(q.Queue)
	case p.Messages != nil:
		q.Messages = new(shm.MessageQueue)
		take(q.Messages)
	case p.Bytes != nil:
		q.Bytes = new(shm.ObjectQueue[[]byte])
		take(q.Bytes)
	default:
		q.Gob = new(shm.ObjectQueue[parcel])
		take(q.Gob)
	}
	return q, err
}

func (p *plaything) close() {
	switch {
	case p.W != nil:
		p.W.Close()
		p.R.Close()
	case p.Queue != nil:
		p.Queue.Close()
	case p.Messages != nil:
		p.Messages.Close()
	case p.Bytes != nil:
		p.Bytes.Close()
	case p.Gob != nil:
		p.Gob.Close()
	}
}

var errTooLong = errors.New("longer than what can be there")

// calls are what can be done with it.
func (p *plaything) calls() map[string]func(context.Context) error {
	long := func(n, most int, err error) error {
		if n < 0 || n > most {
			return fmt.Errorf("%w: %d of %d (%v)", errTooLong, n, most, err)
		}
		return err
	}
	buf := make([]byte, 300)
	switch {
	case p.W != nil:
		return map[string]func(context.Context) error{
			"Send":      func(ctx context.Context) error { return p.W.Send(ctx, buf[:100]) },
			"Send much": func(ctx context.Context) error { return p.W.Send(ctx, make([]byte, p.W.MaxMessage())) },
			"Reserve": func(ctx context.Context) error {
				b, err := p.W.Reserve(ctx, 200)
				if err != nil {
					return err
				}
				copy(b, buf)
				p.W.Commit(150)
				return long(len(b), 200, nil)
			},
			"CloseSend": func(context.Context) error { return p.W.CloseSend() },
			"Consumed":  func(context.Context) error { p.W.Consumed(); return nil },
			"Recv": func(ctx context.Context) error {
				n, err := p.R.Recv(ctx, buf)
				return long(n, len(buf), err)
			},
			"Peek": func(ctx context.Context) error {
				b, err := p.R.Peek(ctx)
				if err != nil {
					return err
				}
				sum(b)
				p.R.Advance()
				return long(len(b), p.R.MaxMessage(), nil)
			},
		}
	case p.Queue != nil:
		q := p.Queue
		return map[string]func(context.Context) error{
			"Send":      func(ctx context.Context) error { return q.Send(ctx, item{}) },
			"TrySend":   func(ctx context.Context) error { _, err := q.TrySend(item{}); return err },
			"SendBatch": func(ctx context.Context) error { n, err := q.SendBatch(ctx, make([]item, 40)); return long(n, 40, err) },
			"Recv":      func(ctx context.Context) error { _, err := q.Recv(ctx); return err },
			"TryRecv":   func(ctx context.Context) error { _, _, err := q.TryRecv(); return err },
			"RecvBatch": func(ctx context.Context) error { n, err := q.RecvBatch(ctx, make([]item, 40)); return long(n, 40, err) },
			"Len":       func(ctx context.Context) error { return long(q.Len(), q.Cap(), nil) },
			"Done":      func(ctx context.Context) error { return q.Done() },
			"Join":      func(ctx context.Context) error { return q.Join(ctx) },
		}
	case p.Messages != nil:
		q := p.Messages
		return map[string]func(context.Context) error{
			"Send":    func(ctx context.Context) error { return q.Send(ctx, buf[:100]) },
			"TrySend": func(ctx context.Context) error { _, err := q.TrySend(nil); return err },
			"Recv":    func(ctx context.Context) error { n, err := q.Recv(ctx, buf); return long(n, len(buf), err) },
			"RecvAppend": func(ctx context.Context) error {
				b, err := q.RecvAppend(ctx, nil)
				sum(b)
				return long(len(b), q.MaxMessage(), err)
			},
			"TryRecv": func(ctx context.Context) error { n, _, err := q.TryRecv(buf); return long(n, len(buf), err) },
			"Len":     func(ctx context.Context) error { q.Len(); return nil },
			"Done":    func(ctx context.Context) error { return q.Done() },
			"Join":    func(ctx context.Context) error { return q.Join(ctx) },
		}
	case p.Bytes != nil:
		q := p.Bytes
		most := q.Cap() - 8
		return map[string]func(context.Context) error{
			"Send":    func(ctx context.Context) error { return q.Send(ctx, buf[:100]) },
			"TrySend": func(ctx context.Context) error { _, err := q.TrySend(buf); return err },
			"Recv":    func(ctx context.Context) error { b, err := q.Recv(ctx); return long(len(b), most, err) },
			"TryRecv": func(ctx context.Context) error { b, _, err := q.TryRecv(); return long(len(b), most, err) },
			"Done":    func(ctx context.Context) error { return q.Done() },
			"Join":    func(ctx context.Context) error { return q.Join(ctx) },
		}
	}
	q, v := p.Gob, parcel{"a parcel", make([]struct{ ID uint32 }, 5), []byte{1, 2, 3}}
	for i := range v.Parts {
		v.Parts[i].ID = uint32(i)
	}
	return map[string]func(context.Context) error{
		"Send":    func(ctx context.Context) error { return q.Send(ctx, v) },
		"TrySend": func(ctx context.Context) error { _, err := q.TrySend(v); return err },
		"Recv":    func(ctx context.Context) error { _, err := q.Recv(ctx); return err },
		"TryRecv": func(ctx context.Context) error { _, _, err := q.TryRecv(); return err },
	}
}

func sum(b []byte) (n int) {
	for _, x := range b {
		n += int(x)
	}
	return n
}

// expected are the errors that calls may give here.
var expected = []error{shm.ErrCorrupt, shm.ErrUndecodable, shm.ErrNamespace, shm.ErrShortBuffer, shm.ErrTooLarge, shm.ErrPeerDead,
	context.DeadlineExceeded, io.EOF, os.ErrClosed, unix.EBUSY, unix.EUSERS, unix.EINVAL, unix.EPERM}

var scribbled = proc.Register("shm_test/scribbled", func(ctx context.Context, a scribbleArgs) error {
	defer a.Notes.Close()
	n := a.Notes.Ptr()
	n.Ready.Store(true)
	r := rand.New(rand.NewPCG(a.Seed, 1))
	heap := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	allocated := func() int64 { metrics.Read(heap); return int64(heap[0].Value.Uint64()) }
	on, own := a.On, false
	all := on.calls()
	var names []string
	for name := range all {
		names = append(names, name)
	}
	try := func(k int, call func() error) error {
		before := allocated()
		n.Call.Store(int64(k))
		n.Began.Store(clock())
		err := call()
		n.Began.Store(0)
		if took := allocated() - before; took > n.Took.Load() {
			if n.Took.Store(took); took > a.Most {
				return fmt.Errorf("%d bytes allocated", took)
			}
		}
		if err == nil {
			n.Good.Add(1)
			return nil
		}
		n.Bad.Add(1)
		for _, want := range expected {
			if errors.Is(err, want) && !errors.Is(err, errTooLong) {
				return nil
			}
		}
		return err
	}
	for start := time.Now(); time.Since(start) < a.For; {
		if r.IntN(30) == 0 {
			var next plaything
			var open error
			err := try(-1, func() error { next, open = a.On.again(); return open })
			if err != nil {
				return fmt.Errorf("TakeFiles: %w", err)
			}
			if open == nil {
				if own {
					on.close()
				}
				on, own = next, true
				all = on.calls()
				n.Opened.Add(1)
			} else {
				next.close()
			}
		}
		k := r.IntN(len(names))
		if names[k] == "CloseSend" && r.IntN(20) > 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(2000))*time.Microsecond)
		err := try(k, func() error { return all[names[k]](ctx) })
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", names[k], err)
		}
	}
	return nil
})

var scribbler = proc.Register("shm_test/scribbler", func(ctx context.Context, a scribbleArgs) error {
	files, err := dup(a.On.handle())
	if err != nil {
		return err
	}
	st, err := files[0].Stat()
	if err != nil {
		return err
	}
	size := int(st.Size())
	mem, err := unix.Mmap(int(files[0].Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	areas := shm.QueueAreas(size)
	if a.On.W != nil {
		areas = shm.RingAreas(size)
	}
	var state shm.Area
	for _, area := range areas {
		if area.Name == "state" {
			state = area
		}
	}
	good := append([]byte(nil), mem[:state.To]...) // nobody has used it yet
	a.Notes.Ptr().Hostile.Store(true)
	for !a.Notes.Ptr().Ready.Load() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	r := rand.New(rand.NewPCG(a.Seed, 2))
	for ctx.Err() == nil {
		area := areas[r.IntN(len(areas))]
		from, bursts := (area.From+7)&^7, 0
		if area.To-from >= 8 {
			fuzz.Scribble(mem[from:area.To], r.Uint64(), func() bool { bursts++; return bursts > 10 })
		}
		if r.IntN(2) == 0 { // else nothing would ever go well again
			copy(mem, good)
		}
	}
	return nil
})

func TestCase213Scribbler(t *testing.T) {
	d := 5 * time.Second
	switch {
	case *long:
		d = time.Minute
	case testing.Short() || raceEnabled:
		d = time.Second
	}
	var all sync.WaitGroup
	defer all.Wait()
	for i, kind := range []string{"Ring", "Queue", "MessageQueue", "ObjectQueue of bytes", "ObjectQueue by gob"} {
		// Not t.Parallel: they take no more time than one, however few may be.
		run := func(t *testing.T) {
			a := scribbleArgs{For: d, Seed: uint64(time.Now().UnixNano()) + uint64(i), Most: 1 << 20} // metrics count small ones late, many at a time
			var err error
			switch kind {
			case "Ring":
				a.On.W, a.On.R, err = shm.NewRing(1)
			case "Queue":
				a.On.Queue, err = shm.NewQueue[item](64)
			case "MessageQueue":
				a.On.Messages, err = shm.NewMessageQueue(4096)
			case "ObjectQueue of bytes":
				a.On.Bytes, err = shm.NewObjectQueue[[]byte](4096, "")
			default:
				a.On.Gob, err = shm.NewObjectQueue[parcel](4096, "")
				a.Most = 64 << 20 // 10 MiB for what a message says it holds, a few times
			}
			if err != nil {
				t.Fatal(err)
			}
			defer a.On.close()
			beScribbled(t, a)
		}
		all.Go(func() { t.Run(kind, run) })
	}
}

func beScribbled(t *testing.T, a scribbleArgs) {
	ctx := watchdog(t, a.For+time.Minute)
	var err error
	if a.Notes, err = shm.New[notes](nil); err != nil {
		t.Fatal(err)
	}
	defer a.Notes.Close()
	n := a.Notes.Ptr()
	hostile := started(t)(scribbler.Start(ctx, a))
	for !n.Hostile.Load() && hostile.Alive() {
		time.Sleep(time.Millisecond)
	}
	p := started(t)(scribbled.Start(ctx, a))
	for p.Alive() {
		time.Sleep(20 * time.Millisecond)
		if began := n.Began.Load(); began != 0 && clock()-began > int64(20*time.Second) {
			t.Errorf("call %d hangs", n.Call.Load())
			p.Signal(unix.SIGQUIT)
			break
		}
	}
	var exit *proc.ExitError
	if _, err := p.Wait(ctx); errors.As(err, &exit) {
		t.Errorf("%v\n%s", err, exit.Crash)
	} else if err != nil {
		t.Error(err)
	}
	if !hostile.Alive() {
		t.Error("the scribbler is gone")
	}
	hostile.Kill()
	hostile.Wait(ctx)
	t.Logf("%d calls went well, %d got a typed error; %d times opened; at most %d bytes allocated in a call",
		n.Good.Load(), n.Bad.Load(), n.Opened.Load(), n.Took.Load())
	if n.Good.Load() == 0 || n.Bad.Load() == 0 {
		t.Error("want some of both")
	}
}
