package shm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// Four processes use a queue in all ways that it has and write down, in shared
// memory, what each call did and when. Then all of it is checked at once.

const logged = 12_000 // events a process

// An entry is an event as its process writes it down: without End before the
// call, so that what a victim was at is known.
type entry struct {
	Kind, Call, Who, Seq uint32
	Begin                int64
	End                  atomic.Int64
}

const unused = ^uint32(0) // kind of an entry of a batch that was shorter

type logbook struct {
	Ready   atomic.Uint32 // how many have started
	Used    [4]atomic.Uint32
	AllSent [4]atomic.Uint32
	Entries [4][logged]entry
}

// A stamped value shows if it was torn.
type stamped struct{ Fill, Who, Seq, Sum uint64 }

func stamp(v value) stamped {
	s := stamped{Fill: uint64(v.seq) * 0x9e3779b97f4a7c15, Who: uint64(v.who), Seq: uint64(v.seq)}
	s.Sum = s.Fill ^ s.Who<<32 ^ s.Seq
	return s
}

func (s stamped) value() (value, error) {
	v := value{int(s.Who), int(s.Seq)}
	if stamp(v) != s {
		return v, fmt.Errorf("torn: %+v", s)
	}
	return v, nil
}

// text is a stamped value as a message whose length depends on it.
func text(v value) []byte {
	msg := make([]byte, 8+(v.seq*7+v.who*13)%40)
	for i := range msg {
		msg[i] = byte(v.seq + i)
	}
	binary.LittleEndian.PutUint32(msg, uint32(v.who))
	binary.LittleEndian.PutUint32(msg[4:], uint32(v.seq))
	return msg
}

func fromText(msg []byte) (v value, err error) {
	if len(msg) >= 8 {
		v = value{int(binary.LittleEndian.Uint32(msg)), int(binary.LittleEndian.Uint32(msg[4:]))}
	}
	if string(text(v)) != string(msg) {
		err = fmt.Errorf("torn: %x", msg)
	}
	return v, err
}

func textWeight(v value) int { return 8 + (len(text(v))+7)&^7 }

// pairs is any of the queues, as one of values.
type pairs struct {
	send      func(context.Context, value) error
	trySend   func(value) (bool, error)
	recv      func(context.Context) (value, error)
	tryRecv   func() (value, bool, error)
	sendBatch func(context.Context, []value) (int, error) // nil if there is none
	recvBatch func(context.Context, []value) (int, error)
	closeSend func() error
	close     func() error
}

// recordArgs say what one process does.
type recordArgs struct {
	Queue        *shm.Queue[stamped]
	Messages     *shm.MessageQueue
	Bytes        *shm.ObjectQueue[[]byte]
	Gob          *shm.ObjectQueue[stamped]
	Log          *shm.Shared[logbook]
	Me, Quota    int
	Sends, Recvs bool
	Seed         uint64
}

// own makes one queue of the four.
func (a *recordArgs) own(kind string) (err error) {
	switch kind {
	case "Queue":
		a.Queue, err = shm.NewQueue[stamped](8)
	case "MessageQueue":
		a.Messages, err = shm.NewMessageQueue(512)
	case "ObjectQueue of bytes":
		a.Bytes, err = shm.NewObjectQueue[[]byte](512, "")
	case "ObjectQueue by gob":
		a.Gob, err = shm.NewObjectQueue[stamped](1024, "")
	}
	return err
}

func untext(msg []byte, ok bool, err error) (value, bool, error) {
	if !ok {
		return value{}, false, err
	}
	v, err := fromText(msg)
	return v, true, err
}

func unstamp(s stamped, ok bool, err error) (value, bool, error) {
	if !ok {
		return value{}, false, err
	}
	v, err := s.value()
	return v, true, err
}

func (a *recordArgs) pairs() *pairs {
	always := func(v value, _ bool, err error) (value, error) { return v, err }
	switch {
	case a.Queue != nil:
		q := a.Queue
		return &pairs{
			send:    func(ctx context.Context, v value) error { return q.Send(ctx, stamp(v)) },
			trySend: func(v value) (bool, error) { return q.TrySend(stamp(v)) },
			recv: func(ctx context.Context) (value, error) {
				s, err := q.Recv(ctx)
				return always(unstamp(s, err == nil, err))
			},
			tryRecv: func() (value, bool, error) { return unstamp(q.TryRecv()) },
			sendBatch: func(ctx context.Context, vs []value) (int, error) {
				var buf [5]stamped
				for i, v := range vs {
					buf[i] = stamp(v)
				}
				return q.SendBatch(ctx, buf[:len(vs)])
			},
			recvBatch: func(ctx context.Context, vs []value) (int, error) {
				var buf [5]stamped
				n, err := q.RecvBatch(ctx, buf[:len(vs)])
				for i := range n {
					if v, torn := buf[i].value(); torn != nil {
						err = torn
					} else {
						vs[i] = v
					}
				}
				return n, err
			},
			closeSend: q.CloseSend, close: q.Close,
		}
	case a.Messages != nil:
		q := a.Messages
		buf := make([]byte, 64)
		return &pairs{
			send:    func(ctx context.Context, v value) error { return q.Send(ctx, text(v)) },
			trySend: func(v value) (bool, error) { return q.TrySend(text(v)) },
			recv: func(ctx context.Context) (value, error) {
				n, err := q.Recv(ctx, buf)
				return always(untext(buf[:n], err == nil, err))
			},
			tryRecv: func() (value, bool, error) {
				n, ok, err := q.TryRecv(buf)
				return untext(buf[:n], ok, err)
			},
			closeSend: q.CloseSend, close: q.Close,
		}
	case a.Bytes != nil:
		q := a.Bytes
		return &pairs{
			send:    func(ctx context.Context, v value) error { return q.Send(ctx, text(v)) },
			trySend: func(v value) (bool, error) { return q.TrySend(text(v)) },
			recv: func(ctx context.Context) (value, error) {
				msg, err := q.Recv(ctx)
				return always(untext(msg, err == nil, err))
			},
			tryRecv:   func() (value, bool, error) { return untext(q.TryRecv()) },
			closeSend: q.CloseSend, close: q.Close,
		}
	}
	q := a.Gob
	return &pairs{
		send:    func(ctx context.Context, v value) error { return q.Send(ctx, stamp(v)) },
		trySend: func(v value) (bool, error) { return q.TrySend(stamp(v)) },
		recv: func(ctx context.Context) (value, error) {
			s, err := q.Recv(ctx)
			return always(unstamp(s, err == nil, err))
		},
		tryRecv:   func() (value, bool, error) { return unstamp(q.TryRecv()) },
		closeSend: q.CloseSend, close: q.Close,
	}
}

var record = proc.Register("shm_test/record", func(ctx context.Context, a recordArgs) error {
	defer a.Log.Close()
	q := a.pairs()
	defer q.close()
	w := writer{a: a, q: q, log: a.Log.Ptr(), r: rand.New(rand.NewPCG(a.Seed, uint64(a.Me)))}
	for w.log.Ready.Add(1); w.log.Ready.Load() < 4; { // else the first ones would be done before the last begins
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(50 * time.Microsecond)
	}
	for sending := a.Sends; ; {
		if sending && w.seq == a.Quota {
			w.log.AllSent[a.Me].Store(1)
			if sending = false; !a.Recvs {
				return nil
			}
		}
		var err error
		if sending && (!a.Recvs || w.r.IntN(2) == 0) {
			err = w.send(ctx)
		} else {
			err = w.recv(ctx)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !(errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil):
			return err
		}
		switch w.r.IntN(64) { // others get a chance to find it full, or empty
		case 0:
			time.Sleep(100 * time.Microsecond)
		case 1, 2, 3, 4, 5, 6, 7, 8:
			for end := clock() + w.r.Int64N(20_000); clock() < end; {
			}
		}
	}
})

// A writer is one process's hand in the logbook.
type writer struct {
	a   recordArgs
	q   *pairs
	log *logbook
	r   *rand.Rand
	seq int // of the next value
	nth uint32
}

// begin writes down that n messages are about to be sent, or received.
func (w *writer) begin(kind eventKind, n int) ([]entry, error) {
	used := int(w.log.Used[w.a.Me].Load())
	if used+n > logged {
		return nil, errors.New("the logbook is full")
	}
	es := w.log.Entries[w.a.Me][used : used+n]
	w.nth++
	for i := range es {
		e := &es[i]
		e.Kind, e.Call = uint32(kind), w.nth
		if kind == sent {
			e.Who, e.Seq = uint32(w.a.Me), uint32(w.seq+i)
		}
		e.Begin = clock()
	}
	for i := range es {
		es[i].Begin = es[n-1].Begin
	}
	w.log.Used[w.a.Me].Store(uint32(used + n))
	return es, nil
}

// end writes down that the call came back: of its messages n are through, or it
// has done what instead says.
func end(es []entry, n int, instead eventKind) {
	now := clock()
	for i := range es {
		switch {
		case i < n:
		case i == 0:
			es[i].Kind = uint32(instead)
		default:
			es[i].Kind = unused
		}
		es[i].End.Store(now)
	}
}

// patience ends soon where all might wait for each other, and elsewhere at times.
func (w *writer) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.a.Sends && w.a.Recvs || w.r.IntN(8) == 0 {
		return context.WithTimeout(ctx, time.Duration(1+w.r.IntN(1000))*time.Microsecond)
	}
	return ctx, func() {}
}

func (w *writer) send(ctx context.Context) error {
	ctx, cancel := w.patience(ctx)
	defer cancel()
	n, kind := 1, w.r.IntN(3)
	if kind == 2 && w.q.sendBatch != nil {
		n = min(1+w.r.IntN(5), w.a.Quota-w.seq)
	}
	es, err := w.begin(sent, n)
	if err != nil {
		return err
	}
	vs := make([]value, n)
	for i := range vs {
		vs[i] = value{w.a.Me, w.seq + i}
	}
	instead := sendGaveUp
	switch {
	case kind == 2 && w.q.sendBatch != nil:
		n, err = w.q.sendBatch(ctx, vs)
	case kind == 1:
		var ok bool
		if ok, err = w.q.trySend(vs[0]); !ok {
			n, instead = 0, foundFull
		}
	default:
		if err = w.q.send(ctx, vs[0]); err != nil {
			n = 0
		}
	}
	end(es, n, instead)
	w.seq += n
	return err
}

func (w *writer) recv(ctx context.Context) error {
	ctx, cancel := w.patience(ctx)
	defer cancel()
	n, kind := 1, w.r.IntN(3)
	if kind == 2 && w.q.recvBatch != nil {
		n = 1 + w.r.IntN(5)
	}
	es, err := w.begin(received, n)
	if err != nil {
		return err
	}
	vs := make([]value, n)
	instead := recvGaveUp
	switch {
	case kind == 2 && w.q.recvBatch != nil:
		n, err = w.q.recvBatch(ctx, vs)
	case kind == 1:
		var ok bool
		if vs[0], ok, err = w.q.tryRecv(); !ok {
			n, instead = 0, foundEmpty
		}
	default:
		if vs[0], err = w.q.recv(ctx); err != nil {
			n = 0
		}
	}
	if err == io.EOF {
		instead = foundEnd
	}
	for i := range n {
		es[i].Who, es[i].Seq = uint32(vs[i].who), uint32(vs[i].seq)
	}
	end(es, n, instead)
	return err
}

// events are what was written down. died is when a process was gone that was
// killed.
func (l *logbook) events(died [4]int64) (all []event, err error) {
	for who := range l.Entries {
		for i := range l.Used[who].Load() {
			e := &l.Entries[who][i]
			x := event{kind: eventKind(e.Kind), who: who, call: int(e.Call), value: value{int(e.Who), int(e.Seq)},
				begin: e.Begin, end: e.End.Load()}
			if x.end == 0 {
				if x.pending, x.end = true, died[who]; x.end == 0 {
					err = fmt.Errorf("process %d is gone without an end of %v", who, x)
				}
			}
			if e.Kind != unused {
				all = append(all, x)
			}
		}
	}
	return all, err
}

// Two processes send and two receive, or all four do both; in half of the
// histories one is killed in the middle.
func TestHistories(t *testing.T) {
	n, quota := 1, 300
	switch {
	case *long:
		n, quota = 30, 1500
	case testing.Short() || raceEnabled:
		quota = 150
	}
	var histories, events, strict, excused, pending int
	seed := uint64(time.Now().UnixNano())
	for _, kind := range []string{"Queue", "MessageQueue", "ObjectQueue of bytes", "ObjectQueue by gob"} {
		for _, mixed := range []bool{false, true} {
			for _, kill := range []bool{false, true} {
				for range n {
					seed++
					h := recorded(t, kind, mixed, kill, quota, seed)
					if err := h.check(); err != nil {
						t.Errorf("%s, mixed %t, kill %t: %v", kind, mixed, kill, err)
					}
					histories++
					events, strict, excused = events+len(h.events), strict+h.strict, excused+h.excused
					for _, e := range h.events {
						if e.pending {
							pending++
							break
						}
					}
				}
			}
		}
	}
	t.Logf("%d histories, %d events; tries that failed: %d for a reason, %d beside another's call; %d victims had something in flight",
		histories, events, strict, excused, pending)
}

// recorded runs four processes on one queue.
func recorded(t *testing.T, kind string, mixed, kill bool, quota int, seed uint64) *history {
	t.Helper()
	ctx := watchdog(t, time.Minute)
	log, err := shm.New[logbook](nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	a := recordArgs{Log: log, Quota: quota, Seed: seed}
	if err := a.own(kind); err != nil {
		t.Fatal(err)
	}
	q := a.pairs()
	defer q.close()
	l := log.Ptr()
	var ps [4]*proc.Process
	for i := range ps {
		b := a
		b.Me, b.Sends, b.Recvs = i, mixed || i < 2, mixed || i >= 2
		ps[i] = started(t)(record.Start(ctx, b))
	}
	wait := func(what string, until func() bool) {
		for !until() {
			if ctx.Err() != nil {
				var used, all [4]uint32
				for i := range used {
					used[i], all[i] = l.Used[i].Load(), l.AllSent[i].Load()
				}
				t.Fatalf("%s, mixed %t, kill %t: hangs before %s: %d events, all sent %d", kind, mixed, kill, what, used, all)
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	gone := func(i int) bool { return !ps[i].Alive() }
	var died [4]int64
	victim := -1
	if kill {
		r := rand.New(rand.NewPCG(seed, 4))
		victim = r.IntN(4)
		enough := uint32(quota/16 + r.IntN(quota/4))
		sentAll := func() bool { // a receiver may find nothing more then
			var n uint32
			for i := range l.AllSent {
				n += l.AllSent[i].Load()
			}
			return n == 4 || !mixed && n == 2
		}
		wait(fmt.Sprintf("process %d is killed", victim), func() bool {
			return l.Used[victim].Load() >= enough || gone(victim) || sentAll()
		})
		for end := clock() + r.Int64N(300_000); clock() < end; {
		}
		ps[victim].Kill()
		ps[victim].Wait(ctx) // its error is the signal's
		died[victim] = clock()
	}
	for i := range ps {
		if mixed || i < 2 {
			wait(fmt.Sprintf("process %d has sent all", i), func() bool { return l.AllSent[i].Load() != 0 || i == victim || gone(i) })
		}
	}
	if err := q.closeSend(); err != nil {
		t.Error(err)
	}
	for i, p := range ps {
		if _, err := p.Wait(ctx); err != nil && i != victim {
			t.Fatalf("%s, mixed %t, kill %t: %v", kind, mixed, kill, err)
		}
	}
	h := &history{drained: true}
	if h.events, err = l.events(died); err != nil {
		t.Error(err)
	}
	switch kind {
	case "Queue":
		h.capacity = 8
	case "MessageQueue", "ObjectQueue of bytes":
		h.capacity, h.weight = 512, textWeight
	}
	return h
}
