package shm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"
)

// What is killed and stopped here: the calls of a process that is alone at both
// ends of a queue, while others ask for them, and the calls of who asks, while the
// other one is idle or in a call.

// alone makes the process alone at both ends of an empty queue, in which it leaves
// so many messages.
func (s *queueStage) alone(fill int) error {
	can := shm.PlainAtOnce()
	s.q().Len() // the first call of all is not the one of a member yet
	s.t()
	over, cancel := context.WithCancel(bg)
	cancel()
	if _, err := s.q().Recv(over); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Recv from an empty queue: %v", err)
	}
	for i := range max(fill, 1) {
		if err := s.q().Send(bg, all(int64(firstStored+i))); err != nil {
			return err
		}
	}
	if fill == 0 {
		if _, err := s.q().Recv(bg); err != nil {
			return err
		}
	}
	if sends, receives := s.q().Alone(0), s.q().Alone(1); can && !(sends && receives) {
		return fmt.Errorf("alone at the sending end: %t, at the receiving end: %t", sends, receives)
	}
	return nil
}

// aloneOp is queueOp whose victim is alone.
func aloneOp(name string, fill int, do func(s *queueStage) error, sent []int64, taken int, casts func(s *queueStage) []fuzz.Cast) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/queue alone "+name, queueSeg, func(seg *fuzz.Segment) fuzz.Op {
		s := newQueueStage(seg, false)
		return fuzz.Op{
			Init:    func() error { return s.first(0) },
			Prepare: func() error { return s.alone(fill) },
			Do:      func() error { return do(s) },
			Check:   func(died bool) error { return s.check(died, fill, sent, taken) },
			Close:   s.close,
			Casts:   casts(s),
		}
	})
}

// Who asks for the end that the victim uses: one who waits, one who dies over it, one
// who tries, and one who waits in the victim's process.
func askers(ask, try func(s *queueStage) error) func(s *queueStage) []fuzz.Cast {
	return func(s *queueStage) []fuzz.Cast {
		asker := fuzz.Peer{Name: "asker", When: fuzz.AtPoint, Run: func(*fuzz.Cue) error { return ask(s) }}
		dying := fuzz.Peer{Name: "dying asker", When: fuzz.AtPoint, Dies: true, Run: func(*fuzz.Cue) error { return ask(s) }}
		trier := fuzz.Peer{Name: "trier", When: fuzz.AtPoint, Run: func(*fuzz.Cue) error { return try(s) }}
		inside := fuzz.Peer{Name: "insider", When: fuzz.AtPoint, Inside: true, Run: func(*fuzz.Cue) error { return ask(s) }}
		return []fuzz.Cast{
			{Name: "asker", Peers: []fuzz.Peer{asker}},
			{Name: "dying asker", Peers: []fuzz.Peer{dying}},
			{Name: "trier", Peers: []fuzz.Peer{trier}},
			{Name: "asker inside", Peers: []fuzz.Peer{inside}},
		}
	}
}

func trySend8(s *queueStage) error { _, err := s.q().TrySend(all(8)); return err }
func send8(s *queueStage) error    { return s.send(8) }

func tryRecv(s *queueStage) error {
	x, ok, err := s.q().TryRecv()
	if ok {
		err = s.note(x)
	}
	return err
}

// Whom the victim asks: one who is alone and idle, and one who sleeps in a call.
func idle(s *queueStage) []fuzz.Cast {
	return []fuzz.Cast{{Name: "idle", Peers: []fuzz.Peer{{Name: "alone", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		if err := s.alone(0); err != nil {
			return err
		}
		c.Ready()
		c.Over()
		s.give()
		s.takeOne()
		return nil
	}}}}}
}

func inCall(s *queueStage) []fuzz.Cast {
	return []fuzz.Cast{{Name: "in a call", Peers: []fuzz.Peer{
		{Name: "alone", When: fuzz.Asleep, Run: func(*fuzz.Cue) error {
			shm.PlainAtOnce()
			return s.recv()
		}},
		{Name: "giver", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
			s.q().Len()
			c.Ready()
			c.Blocked()
			return errors.Join(s.send(20), s.send(21))
		}},
	}}}
}

var (
	killAloneSend = aloneOp("send", 0, func(s *queueStage) error { return s.send(7) }, []int64{7}, 0, receivers)
	killAloneRecv = aloneOp("recv", queueSlots, func(s *queueStage) error { return s.recv() }, nil, 1, senders)

	killAskedSend = aloneOp("send, asked", 0, func(s *queueStage) error { return s.send(7) }, []int64{7}, 0, askers(send8, trySend8))
	killAskedRecv = aloneOp("recv, asked", queueSlots, func(s *queueStage) error { return s.recv() }, nil, 2, askers((*queueStage).recv, tryRecv))
	killAskedTry  = aloneOp("trysend, asked", 0, func(s *queueStage) error { _, err := s.q().TrySend(all(7)); return err }, nil, 0, askers(send8, trySend8))

	killAsk     = queueOp("ask", 0, func(s *queueStage) error { return s.send(7) }, []int64{7}, 0, idle)
	killAskBusy = queueOp("ask who is in a call", 0, func(s *queueStage) error { return s.recv() }, nil, 1, inCall)

	// The first call that does without the lock, and the end of all such.
	killGoAlone = queueOp("go alone", 0, func(s *queueStage) error {
		shm.PlainAtOnce()
		return s.send(7)
	}, []int64{7}, 0, receivers)
	killLeaveAlone = aloneOp("close", 0, func(s *queueStage) error { s.undo = nil; return s.q().Close() }, nil, 0, func(s *queueStage) []fuzz.Cast {
		return askers(send8, trySend8)(s)[:3] // nobody inside, where the queue is closed
	})
)

func TestKillPointsAlone(t *testing.T) {
	killQueue(t, killAloneSend, killAloneRecv, killGoAlone, killLeaveAlone)
}

func TestKillPointsAsked(t *testing.T) {
	killQueue(t, killAskedSend, killAskedRecv, killAskedTry, killAsk, killAskBusy)
}

// Nobody is in an end together with the one who is alone there.
var (
	pauseAskedSend = aloneOp("send, paused", 0, func(s *queueStage) error { return s.send(7) }, []int64{7}, 0, askers(send8, trySend8))
	pauseAskedRecv = aloneOp("recv, paused", queueSlots, func(s *queueStage) error { return s.recv() }, nil, 0, askers((*queueStage).recv, tryRecv))
)

func TestPausePointsAsked(t *testing.T) {
	plainBuild(t)
	for _, sc := range []*fuzz.Scenario{pauseAskedSend, pauseAskedRecv, killAsk, killAskBusy} {
		fuzz.PauseEach(t, sc, killingQueue())
	}
}
