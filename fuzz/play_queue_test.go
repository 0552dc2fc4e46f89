package fuzz_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/shm"
)

// FuzzModelQueue plays on the three queues.
func FuzzModelQueue(f *testing.F) { playAll(f, queuePlays) }

var queuePlays = []play{
	queuePlay("queue", func(size int) (sharedQueue, error) { return fixed(shm.NewQueue[couple](size)) },
		func() sharedQueue { return &fixedQueue{Queue: new(shm.Queue[couple])} },
		func(size int) queueRules {
			return queueRules{most: size, room: size, cost: func(int) int { return 1 }, batches: true}
		}),
	queuePlay("message queue", func(size int) (sharedQueue, error) { return messages(shm.NewMessageQueue(size * 20)) },
		func() sharedQueue { return messageQueue{new(shm.MessageQueue)} },
		func(size int) queueRules { return recordRules(size * 20) }),
	queuePlay("object queue", func(size int) (sharedQueue, error) { return objects(shm.NewObjectQueue[string](size*20, "")) },
		func() sharedQueue { return objectQueue{new(shm.ObjectQueue[string])} },
		func(size int) queueRules { r := recordRules(size * 20); r.grows = true; return r }),
}

// queueRules are what differs between the queues.
type queueRules struct {
	room    int           // that all messages together may take
	cost    func(int) int // of a message of that length
	most    int           // what Cap says
	longest int           // message; 0: lengths don't matter
	grows   bool          // the receiver makes room
	batches bool
}

func recordRules(capacity int) queueRules {
	size := 64
	for size < capacity {
		size *= 2
	}
	return queueRules{room: size, cost: func(n int) int { return 8 + (n+7)&^7 }, most: size, longest: size - 8}
}

// sharedQueue is what the queues have in common, with bytes for all of them.
type sharedQueue interface {
	PassFiles() ([]*os.File, error)
	TakeFiles([]*os.File) error
	Close() error
	CloseSend() error
	Done() error
	Join(context.Context) error
	Len() int
	Cap() int
	send(ctx context.Context, msg []byte) error
	trySend(msg []byte) (bool, error)
	recv(ctx context.Context, buf []byte) (string, error)
	tryRecv(buf []byte) (string, bool, error)
	batch(ctx context.Context, n int) (string, error) // send n if it is positive, else receive -n
}

// fixedQueue sends couples, in which a message is its length and its sum.
type fixedQueue struct{ *shm.Queue[couple] }

func fixed(q *shm.Queue[couple], err error) (sharedQueue, error) { return fixedQueue{q}, err }

func coupleOf(b []byte) couple {
	c := couple{A: int64(len(b))}
	for i, x := range b {
		c.B[i%3] += int32(x) << (i % 16)
	}
	return c
}

func text(c couple) string { return strings.TrimSpace(ok(c)) }

func (q fixedQueue) send(ctx context.Context, b []byte) error { return q.Send(ctx, coupleOf(b)) }
func (q fixedQueue) trySend(b []byte) (bool, error)           { return q.TrySend(coupleOf(b)) }
func (q fixedQueue) recv(ctx context.Context, _ []byte) (string, error) {
	c, err := q.Recv(ctx)
	return text(c), err
}
func (q fixedQueue) tryRecv([]byte) (string, bool, error) {
	c, had, err := q.TryRecv()
	return text(c), had, err
}
func (q fixedQueue) batch(ctx context.Context, n int) (string, error) {
	cs := make([]couple, max(n, -n))
	if n > 0 {
		for i := range cs {
			cs[i] = coupleOf(fill(i, uint16(n)))
		}
		n, err := q.SendBatch(ctx, cs)
		return ok(n), err
	}
	n, err := q.RecvBatch(ctx, cs)
	s := ""
	for _, c := range cs[:n] {
		s += text(c) + ";"
	}
	return s, err
}

type messageQueue struct{ *shm.MessageQueue }

func messages(q *shm.MessageQueue, err error) (sharedQueue, error) { return messageQueue{q}, err }

func (q messageQueue) send(ctx context.Context, b []byte) error { return q.Send(ctx, b) }
func (q messageQueue) trySend(b []byte) (bool, error)           { return q.TrySend(b) }
func (q messageQueue) recv(ctx context.Context, buf []byte) (string, error) {
	n, err := q.Recv(ctx, buf)
	return sum(buf[:n]), err
}
func (q messageQueue) tryRecv(buf []byte) (string, bool, error) {
	n, had, err := q.TryRecv(buf)
	return sum(buf[:n]), had, err
}
func (messageQueue) batch(context.Context, int) (string, error) { return "", nil }

type objectQueue struct{ *shm.ObjectQueue[string] }

func objects(q *shm.ObjectQueue[string], err error) (sharedQueue, error) { return objectQueue{q}, err }

func (q objectQueue) send(ctx context.Context, b []byte) error { return q.Send(ctx, string(b)) }
func (q objectQueue) trySend(b []byte) (bool, error)           { return q.TrySend(string(b)) }
func (q objectQueue) recv(ctx context.Context, _ []byte) (string, error) {
	s, err := q.Recv(ctx)
	return sum([]byte(s)), err
}
func (q objectQueue) tryRecv([]byte) (string, bool, error) {
	s, had, err := q.TryRecv()
	return sum([]byte(s)), had, err
}
func (objectQueue) batch(context.Context, int) (string, error) { return "", nil }

type queueRole struct{ sharedQueue }

func queueSize(size byte) int { return 1 + int(size)%9 }

func queuePlay(name string, fresh func(int) (sharedQueue, error), empty func() sharedQueue, rules func(int) queueRules) play {
	return play{
		name: name,
		cast: func(size byte) (role, []*os.File, func(), error) {
			q, err := fresh(queueSize(size))
			if err != nil {
				return nil, nil, nil, err
			}
			files, err := q.PassFiles()
			return queueRole{q}, files, func() {}, err
		},
		far: func(files []*os.File) (role, error) {
			q := empty()
			return queueRole{q}, q.TakeFiles(files)
		},
		model: func(size byte, _ bool) func(bool, byte, uint16) (string, bool) {
			m := &queueModel{queueRules: rules(queueSize(size))}
			return func(_ bool, op byte, arg uint16) (string, bool) { return m.do(op, arg) }
		},
	}
}

const queueOps = 12

func (q queueRole) do(op byte, arg uint16, late bool) string {
	ctx, cancel := in(late)
	defer cancel()
	msg, buf := fill(lengthOf(arg, max(q.Cap()-8, 20)), arg), make([]byte, 300)
	if arg%16 == 15 {
		buf = buf[:3]
	}
	switch op % queueOps {
	case 0, 1:
		sent, err := q.trySend(msg)
		return said(err, sent)
	case 2:
		return said(q.send(ctx, msg))
	case 3, 4:
		s, had, err := q.tryRecv(buf)
		return said(err, s, had)
	case 5:
		s, err := q.recv(ctx, buf)
		return said(err, s)
	case 6:
		return ok(q.Len(), q.Cap())
	case 7:
		return said(q.Done())
	case 8:
		return said(q.Join(ctx))
	case 9:
		s, err := q.batch(ctx, 1+int(arg)%12)
		return said(err, s)
	case 10:
		s, err := q.batch(ctx, -1-int(arg)%12)
		return said(err, s)
	}
	return said(q.CloseSend())
}

type queueModel struct {
	queueRules
	queue                [][]byte
	used                 int
	sent, received, done int
	seen                 int // of those sent, when the receiving end last looked
	ended                bool
}

// show is how a message is compared; nil: none was received.
func (m *queueModel) show(b []byte) string {
	if m.batches {
		return text(coupleOf(b))
	}
	return sum(b)
}

func (m *queueModel) push(msg []byte) {
	m.queue, m.used, m.sent = append(m.queue, msg), m.used+m.cost(len(msg)), m.sent+1
}

func (m *queueModel) pop() []byte {
	msg := m.queue[0]
	m.queue, m.used, m.received = m.queue[1:], m.used-m.cost(len(msg)), m.received+1
	return msg
}

func (m *queueModel) do(op byte, arg uint16) (string, bool) {
	msg := fill(lengthOf(arg, max(m.most-8, 20)), arg)
	none := m.show(nil)
	switch op %= queueOps; op {
	case 3, 4, 5, 10: // a batch is of what was there at the last look
		if m.seen == m.received {
			m.seen = m.sent
		}
	}
	switch op {
	case 0, 1, 2:
		var values []any
		if op != 2 {
			values = []any{false}
		}
		switch {
		case m.longest > 0 && len(msg) > m.longest:
			return fails("too large", values...), false
		case m.ended:
			return fails("closed", values...), false
		case m.used+m.cost(len(msg)) > m.room && op == 2:
			return fails("canceled"), true
		case m.used+m.cost(len(msg)) > m.room:
			return ok(false), false
		}
		m.push(msg)
		if op == 2 {
			return ok(), false
		}
		return ok(true), false
	case 3, 4, 5:
		values := []any{none, false}
		if op == 5 {
			values = values[:1]
		}
		switch {
		case len(m.queue) == 0 && m.ended:
			return fails("EOF", values...), false
		case len(m.queue) == 0 && op == 5:
			return fails("canceled", values...), true
		case len(m.queue) == 0:
			return ok(values...), false
		case m.longest > 0 && !m.grows && len(m.queue[0]) > 3 && arg%16 == 15:
			return fails("short", values...), false
		}
		values[0] = m.show(m.pop())
		if op != 5 {
			values[1] = true
		}
		return ok(values...), false
	case 6:
		return ok(len(m.queue), m.most), false
	case 7:
		if m.done == m.received {
			return fails("invalid"), false
		}
		m.done++
		return ok(), false
	case 8:
		if m.done != m.sent {
			return fails("canceled"), true
		}
		return ok(), false
	case 9:
		n := 1 + int(arg)%12
		if !m.batches {
			return "", false
		}
		if m.ended {
			return fails("closed", ok(0)), false
		}
		room := min(n, m.room-m.used)
		for i := range room {
			m.push(fill(i, uint16(n)))
		}
		if room < n {
			return fails("canceled", ok(room)), true
		}
		return ok(ok(n)), false
	case 10:
		if !m.batches {
			return "", false
		}
		n := min(1+int(arg)%12, m.seen-m.received)
		switch {
		case n == 0 && m.ended:
			return fails("EOF", ""), false
		case n == 0:
			return fails("canceled", ""), true
		}
		s := ""
		for range n {
			s += text(coupleOf(m.pop())) + ";"
		}
		return ok(s), false
	}
	if arg%32 != 0 { // seldom, as it is the end
		return "", false
	}
	m.ended = true
	return ok(), false
}
