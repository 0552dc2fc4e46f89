package shm_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/rawipc/rawipc/shm"
)

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
