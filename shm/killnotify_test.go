package shm_test

import (
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// What is killed here: senders, and who ends the stream, while a notifier waits,
// be it the only one or beside a receiver; and a notifier, with another behind
// it. Who waits is told by what was done, or else by a death.

func (s *queueStage) noticer(outside bool) func(*fuzz.Cue) error {
	return func(*fuzz.Cue) error {
		err := s.q().AwaitNotice(bg)
		if outside {
			s.t().arrived.Add(1)
		}
		return err
	}
}

func noticers(s *queueStage) []fuzz.Cast {
	told := fuzz.Peer{Name: "notifier", When: fuzz.Asleep, Run: s.noticer(true)}
	in := fuzz.Peer{Name: "insider", When: fuzz.Asleep, Inside: true, Run: s.noticer(false)}
	out := fuzz.Peer{Name: "receiver", When: fuzz.Asleep, Run: s.receiver(true)}
	one, two := s.heir(1, s.empty, s.give), s.heir(2, s.empty, s.give)
	return []fuzz.Cast{
		{Name: "notifier", Peers: []fuzz.Peer{one, told}},
		{Name: "two notifiers", Peers: []fuzz.Peer{two, told, told}},
		{Name: "notifier behind insider", Peers: []fuzz.Peer{one, in, told}},
		{Name: "notifier and receiver", Peers: []fuzz.Peer{two, told, out}},
	}
}

func wokenNoticers(s *queueStage) []fuzz.Cast {
	giver := fuzz.Peer{Name: "giver", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
		s.q().Len()
		c.Ready()
		c.Blocked()
		return s.send(20)
	}}
	second := fuzz.Peer{Name: "second", When: fuzz.Behind, Run: s.noticer(true)}
	return []fuzz.Cast{
		{Name: "giver", Peers: []fuzz.Peer{giver}},
		{Name: "giver and second", Peers: []fuzz.Peer{giver, second, s.followUp(s.empty, s.give)}},
	}
}

func endNoticers(s *queueStage) []fuzz.Cast {
	return []fuzz.Cast{{Name: "notifier", Peers: []fuzz.Peer{
		s.heir(1, s.empty, s.give), {Name: "notifier", When: fuzz.Asleep, Run: s.noticer(true)}}}}
}

var (
	killNotifySend = queueOp("notify send", 0, func(s *queueStage) error { return s.send(7) }, []int64{7}, 0, noticers)
	killNotifyEnd  = queueOp("notify closesend", 0, func(s *queueStage) error { return s.q().CloseSend() }, nil, 0, endNoticers)
	killNotified   = queueOp("notified", 0, func(s *queueStage) error { return s.q().AwaitNotice(bg) }, nil, 0, wokenNoticers)
)

func TestKillPointsNotify(t *testing.T) { killQueue(t, killNotifySend, killNotifyEnd, killNotified) }
