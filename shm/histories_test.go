package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// Four processes use a queue in all ways that it has and write down, in shared
// memory, what each call did and when. Then all of it is checked at once.

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
