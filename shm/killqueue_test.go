package shm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"
)

// What is killed here: each operation of a Queue, alone, with somebody asleep
// at the other end, and with others who wait behind the victim. Messages are
// whole, none comes twice, and what was committed gets to somebody who lives,
// save for one that the victim had taken. Nobody sleeps at a queue that has
// what he waits for, and no timer helps him: a robust lock looks for a dead
// owner every 250 ms, the survivors have 200.

// tally is who got what, beside the queue in a scenario's segment.
type tally struct {
	got     [64]atomic.Uint32 // messages received, by value
	arrived atomic.Uint32     // sleepers outside the victim's process that are through
}

const queueSlots = 8

// fives is a queue of values of several words: a Queue, or a MessageQueue.
type fives interface {
	Send(context.Context, five) error
	TrySend(five) (bool, error)
	Recv(context.Context) (five, error)
	TryRecv() (five, bool, error)
	Len() int
	Ending() bool
	Alone(end int) bool
	Sent() uint64
	CloseSend() error
	AwaitNotice(context.Context) error
	Close() error
}

// fiveMessages sends them as messages of which as many fit as into the Queue.
type fiveMessages struct{ *shm.MessageQueue }

const messageSize = 56

func (q fiveMessages) bytes(x five) []byte {
	msg := make([]byte, messageSize)
	binary.Encode(msg, binary.LittleEndian, x)
	return msg
}

func (q fiveMessages) five(msg []byte) (x five, err error) {
	if len(msg) != messageSize {
		return x, fmt.Errorf("a message of %d bytes", len(msg))
	}
	_, err = binary.Decode(msg, binary.LittleEndian, &x)
	return x, err
}

func (q fiveMessages) Send(ctx context.Context, x five) error {
	return q.MessageQueue.Send(ctx, q.bytes(x))
}

func (q fiveMessages) TrySend(x five) (bool, error) { return q.MessageQueue.TrySend(q.bytes(x)) }

func (q fiveMessages) Recv(ctx context.Context) (x five, err error) {
	msg, err := q.MessageQueue.RecvAppend(ctx, nil)
	if err != nil {
		return x, err
	}
	return q.five(msg)
}

func (q fiveMessages) TryRecv() (x five, ok bool, err error) {
	buf := make([]byte, messageSize)
	n, ok, err := q.MessageQueue.TryRecv(buf)
	if !ok {
		return x, false, err
	}
	x, err = q.five(buf[:n])
	return x, true, err
}

// queueStage is such a queue in a segment, as one process has it.
type queueStage struct {
	*seat
	messages bool
	q        func() fives
	t        func() *tally
}

func newQueueStage(seg *fuzz.Segment, messages bool) *queueStage {
	s := &queueStage{seat: newSeat(seg), messages: messages}
	s.q = sync.OnceValue(func() fives {
		var q fives
		if messages {
			m, err := shm.OpenMessageQueueAt(s.once(), 0)
			check(err)
			q = fiveMessages{m}
		} else {
			var err error
			q, err = shm.OpenQueueAt[five](s.once(), 0)
			check(err)
		}
		s.drop(q.Close)
		return q
	})
	s.t = sync.OnceValue(func() *tally {
		t, err := futex.At[tally](seg.Mem, tallyAt)
		check(err)
		return t
	})
	return s
}

const (
	tallyAt     = 2 * killPage
	queueSeg    = 3 * killPage
	firstStored = 10 // what Init leaves in the queue: 10, 11, 12…
	marker      = 9  // what heirs send
)

func (s *queueStage) first(fill int) error {
	var q fives
	if s.messages {
		m, err := shm.NewMessageQueueAt(s.once(), 0, queueSlots*(messageSize+8))
		check(err)
		q = fiveMessages{m}
	} else {
		var err error
		q, err = shm.NewQueueAt[five](s.once(), 0, queueSlots)
		check(err)
	}
	for i := range fill {
		check(q.Send(context.Background(), all(int64(firstStored+i))))
	}
	return q.Close()
}

func (s *queueStage) send(n int64) error { return s.q().Send(context.Background(), all(n)) }

// note counts a message that was received.
func (s *queueStage) note(x five) error {
	n, err := oneWord(x)
	if err == nil && (n < 0 || n >= int64(len(s.t().got))) {
		err = fmt.Errorf("a message %d that nobody sent", n)
	}
	if err == nil && n != marker && s.t().got[n].Add(1) > 1 {
		err = fmt.Errorf("message %d came twice", n)
	}
	return err
}

func (s *queueStage) recv() error {
	x, err := s.q().Recv(context.Background())
	if err != nil {
		return err
	}
	return s.note(x)
}

// Sleepers of both kinds; who is outside the victim's process says when he is
// through.
func (s *queueStage) receiver(outside bool) func(*fuzz.Cue) error {
	return func(*fuzz.Cue) error {
		err := s.recv()
		if outside {
			s.t().arrived.Add(1)
		}
		return err
	}
}

func (s *queueStage) sender(n int64, outside bool) func(*fuzz.Cue) error {
	return func(*fuzz.Cue) error {
		err := s.send(n)
		if outside {
			s.t().arrived.Add(1)
		}
		return err
	}
}

// heir does for the sleepers what the victim might have done, but only where it
// has not: helpless says so. Where the victim has, they must do without.
func (s *queueStage) heir(sleepers uint32, helpless func() bool, help func()) fuzz.Peer {
	return fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		s.q().Len() // it is a member
		c.Ready()
		c.Over()
		for s.t().arrived.Load() < sleepers {
			if helpless() {
				help()
			}
			time.Sleep(200 * time.Microsecond)
		}
		for range 3 {
			help() // for those in a process that was not killed
		}
		return nil
	}}
}

func (s *queueStage) empty() bool { return s.q().Len() == 0 && !s.q().Ending() }
func (s *queueStage) full() bool  { return s.q().Len() == queueSlots }
func (s *queueStage) give()       { s.q().TrySend(all(marker)) }

func (s *queueStage) takeOne() {
	if x, ok, _ := s.q().TryRecv(); ok {
		check(s.note(x))
	}
}

// queueOp registers an operation on a queue that holds fill messages before it.
// sent and taken are the values that the victim sends, and how many messages it
// may take with it when it dies.
func queueOp(name string, fill int, do func(s *queueStage) error, sent []int64, taken int, casts func(s *queueStage) []fuzz.Cast) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/queue "+name, queueSeg, func(seg *fuzz.Segment) fuzz.Op {
		s := newQueueStage(seg, strings.HasPrefix(name, "message"))
		return fuzz.Op{
			Init:    func() error { return s.first(fill) },
			Prepare: func() error { s.q().Len(); return nil },
			Do:      func() error { return do(s) },
			Check:   func(died bool) error { return s.check(died, fill, sent, taken) },
			Close:   s.close,
			Casts:   casts(s),
		}
	})
}

// check drains the queue, looks at what came through it, and uses it.
func (s *queueStage) check(died bool, fill int, sent []int64, taken int) error {
	q, ending := s.q(), s.q().Ending()
	for {
		x, ok, err := q.TryRecv()
		if err == io.EOF && ending || !ok && err == nil && q.Len() == 0 {
			break
		} else if err != nil {
			return err
		}
		if ok {
			if err := s.note(x); err != nil {
				return err
			}
		}
	}
	lost := 0
	for i := range fill {
		if s.t().got[firstStored+i].Load() == 0 {
			lost++
		}
	}
	if most := taken; lost > most || !died && lost > 0 {
		return fmt.Errorf("%d messages lost, want %d at most (the victim died: %t)", lost, most, died)
	}
	came := 0
	for _, n := range sent {
		came += int(s.t().got[n].Load())
	}
	// A batch comes whole or not at all; an insider may have died with one.
	if missing := len(sent) - came; missing > 0 && (!died || came > 0 && missing > 1) {
		return fmt.Errorf("of the messages %d there came %d (the victim died: %t)", sent, came, died)
	}
	if ending {
		return nil
	}
	if ok, err := q.TrySend(all(5)); !ok || err != nil {
		return fmt.Errorf("TrySend afterwards: %t, %v", ok, err)
	}
	x, ok, err := q.TryRecv()
	if n, _ := oneWord(x); !ok || err != nil || n != 5 {
		return fmt.Errorf("TryRecv afterwards: %d, %t, %v", n, ok, err)
	}
	return nil
}

// Who sleeps at the other end of a sender, and of a receiver.
func receivers(s *queueStage) []fuzz.Cast {
	heir := s.heir(1, s.empty, s.give)
	out := fuzz.Peer{Name: "receiver", When: fuzz.Asleep, Run: s.receiver(true)}
	in := fuzz.Peer{Name: "insider", When: fuzz.Asleep, Inside: true, Run: s.receiver(false)}
	barger := fuzz.Peer{Name: "barger", When: fuzz.AtPoint, Run: func(*fuzz.Cue) error { return s.send(8) }}
	return []fuzz.Cast{
		{Name: "nobody"},
		{Name: "receiver", Peers: []fuzz.Peer{heir, out}},
		{Name: "receiver and barger", Peers: []fuzz.Peer{heir, out, barger}},
		{Name: "receiver behind insider", Peers: []fuzz.Peer{heir, in, out}},
	}
}

func senders(s *queueStage) []fuzz.Cast {
	heir := s.heir(1, s.full, s.takeOne)
	out := fuzz.Peer{Name: "sender", When: fuzz.Asleep, Run: s.sender(30, true)}
	in := fuzz.Peer{Name: "insider", When: fuzz.Asleep, Inside: true, Run: s.sender(31, false)}
	barger := fuzz.Peer{Name: "barger", When: fuzz.AtPoint, Run: func(*fuzz.Cue) error { return s.recv() }}
	return []fuzz.Cast{
		{Name: "nobody"},
		{Name: "sender", Peers: []fuzz.Peer{heir, out}},
		{Name: "sender and barger", Peers: []fuzz.Peer{heir, out, barger}},
		{Name: "sender behind insider", Peers: []fuzz.Peer{heir, in, out}},
	}
}

// The victim sleeps, is woken, and somebody waits behind it.
func wokenReceivers(s *queueStage) []fuzz.Cast {
	giver := fuzz.Peer{Name: "giver", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		s.q().Len()
		c.Ready()
		c.Blocked()
		return s.send(20)
	}}
	second := fuzz.Peer{Name: "second", When: fuzz.Behind, Run: s.receiver(true)}
	return []fuzz.Cast{
		{Name: "giver", Peers: []fuzz.Peer{giver}},
		{Name: "giver and second", Peers: []fuzz.Peer{giver, second, s.followUp(s.empty, s.give)}},
	}
}

func wokenSenders(s *queueStage) []fuzz.Cast {
	taker := fuzz.Peer{Name: "taker", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		s.q().Len()
		c.Ready()
		c.Blocked()
		return s.recv()
	}}
	second := fuzz.Peer{Name: "second", When: fuzz.Behind, Run: s.sender(30, true)}
	return []fuzz.Cast{
		{Name: "taker", Peers: []fuzz.Peer{taker}},
		{Name: "taker and second", Peers: []fuzz.Peer{taker, second, s.followUp(s.full, s.takeOne)}},
	}
}

// followUp is an heir for a sleeper who may never have started.
func (s *queueStage) followUp(helpless func() bool, help func()) fuzz.Peer {
	return fuzz.Peer{Name: "heir", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		s.q().Len()
		c.Ready()
		c.Over()
		for end := time.Now().Add(100 * time.Millisecond); s.t().arrived.Load() == 0 && time.Now().Before(end); {
			if helpless() {
				help()
			}
			time.Sleep(200 * time.Microsecond)
		}
		return nil
	}}
}

var (
	killSend = queueOp("send", 0, func(s *queueStage) error { return s.send(7) }, []int64{7}, 0, receivers)
	killRecv = queueOp("recv", queueSlots, func(s *queueStage) error { return s.recv() }, nil, 1, senders)

	killSendWoken = queueOp("send woken", queueSlots, func(s *queueStage) error { return s.send(7) },
		[]int64{7}, 0, wokenSenders)
	killRecvWoken = queueOp("recv woken", 0, func(s *queueStage) error { return s.recv() }, nil, 1, wokenReceivers)

	killMessageSend = queueOp("message send", 0, func(s *queueStage) error { return s.send(7) }, []int64{7}, 0, receivers)
	killMessageRecv = queueOp("message recv", queueSlots, func(s *queueStage) error { return s.recv() }, nil, 1, senders)

	killTrySend = queueOp("trysend", 0, func(s *queueStage) error {
		_, err := s.q().TrySend(all(7))
		return err
	}, nil, 0, receivers)
	killTryRecv = queueOp("tryrecv", queueSlots, func(s *queueStage) error {
		x, ok, err := s.q().TryRecv()
		if ok {
			err = s.note(x)
		}
		return err
	}, nil, 1, senders)
	killSendBatch = queueOp("send batch", 0, func(s *queueStage) error {
		_, err := s.q().(*shm.Queue[five]).SendBatch(context.Background(), []five{all(7), all(6), all(4)})
		return err
	}, []int64{7, 6, 4}, 0, receivers)
	killRecvBatch = queueOp("recv batch", queueSlots, func(s *queueStage) error {
		var buf [3]five
		n, err := s.q().(*shm.Queue[five]).RecvBatch(context.Background(), buf[:])
		for _, x := range buf[:n] {
			err = errors.Join(err, s.note(x))
		}
		return err
	}, nil, 3, senders)
	killCloseSend = queueOp("closesend", 0, func(s *queueStage) error { return s.q().CloseSend() }, nil, 0, func(s *queueStage) []fuzz.Cast {
		heir := s.heir(1, s.empty, s.give)
		eof := func(*fuzz.Cue) error {
			err := s.recv()
			s.t().arrived.Add(1)
			if err == io.EOF {
				return nil
			}
			return err
		}
		return []fuzz.Cast{{Name: "nobody"},
			{Name: "receiver", Peers: []fuzz.Peer{heir, {Name: "receiver", When: fuzz.Asleep, Run: eof}}}}
	})
)

func killingQueue() *fuzz.Options {
	o := killing()
	o.Patience = 200 * time.Millisecond
	return o
}

func killQueue(t *testing.T, scenarios ...*fuzz.Scenario) {
	t.Helper()
	plainBuild(t)
	for _, sc := range scenarios {
		fuzz.KillEach(t, sc, killingQueue())
	}
}

func TestKillPointsQueueSend(t *testing.T)  { killQueue(t, killSend, killSendWoken, killTrySend) }
func TestKillPointsQueueRecv(t *testing.T)  { killQueue(t, killRecv, killRecvWoken, killTryRecv) }
func TestKillPointsQueueBatch(t *testing.T) { killQueue(t, killSendBatch, killRecvBatch) }
func TestKillPointsMessages(t *testing.T)   { killQueue(t, killMessageSend, killMessageRecv) }
func TestKillPointsQueueEnd(t *testing.T)   { killQueue(t, killCloseSend) }
