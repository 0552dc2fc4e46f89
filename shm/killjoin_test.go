package shm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// A process joins while another is about to sleep, which can't have listed it
// then, does what the sleeper waits for, and is gone before it has woken him: its
// end must wake him. It does not die here but withdraws its words; who watches
// them can't tell that apart.
var (
	pauseQueueRecv = joinOp("recv", 0, func(s *queueStage) error { return s.recv() }, func(s *queueStage) bool { return s.q().Len() == 0 }, func(s *queueStage) { s.give() }, func(s *queueStage) {
		_, err := s.q().(*shm.Queue[five]).SendUnwoken(all(7))
		check(err)
	})
	pauseQueueSend = joinOp("send", queueSlots, func(s *queueStage) error { return s.send(7) }, (*queueStage).full, (*queueStage).takeOne, func(s *queueStage) {
		_, _, err := s.q().(*shm.Queue[five]).RecvUnwoken()
		check(err)
	})
	pauseQueueNotify = joinOp("notify", 0, func(s *queueStage) error { return s.q().AwaitNotice(bg) }, func(s *queueStage) bool { return s.q().Len() == 0 }, func(s *queueStage) { s.give() }, func(s *queueStage) {
		_, err := s.q().(*shm.Queue[five]).SendUnwoken(all(7))
		check(err)
	})
	pauseRingRecv = fuzz.RegisterOp("shm/ring join recv", ringSeg, func(seg *fuzz.Segment) fuzz.Op {
		s := newRingStage(seg)
		return fuzz.Op{
			Init:    func() error { return shm.RingIn(s.file(), ringSeg) },
			Prepare: func() error { return s.r().Attach() },
			Do: func() error {
				n, err := s.recv()
				if err == nil && n != 7 {
					err = fmt.Errorf("message %d, want 7", n)
				}
				return err
			},
			Close: s.close,
			Casts: unwoken(func() bool { return s.w().Sent() == 0 }, func() { s.send(7) }, func() { s.w().Attach() }, func() {
				buf, err := s.w().Reserve(context.Background(), ringMessage)
				if errors.Is(err, unix.EBUSY) {
					return // the helper has sent
				}
				check(err)
				for i := range buf {
					buf[i] = 7
				}
				s.w().CommitUnwoken(len(buf))
			}),
		}
	})
)

// unwoken is the newcomer, and somebody who helps where that comes too late:
// where the victim sleeps and nothing has been done for him.
func unwoken(helpless func() bool, help, join, do func()) []fuzz.Cast {
	return []fuzz.Cast{{Name: "newcomer", Peers: []fuzz.Peer{
		{Name: "helper", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
			helpless() // has the queue open
			c.Ready()
			c.Blocked()
			time.Sleep(20 * time.Millisecond)
			if helpless() {
				help()
			}
			return nil
		}},
		{Name: "newcomer", When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
			join()
			c.Ready()
			c.Over()
			time.Sleep(2 * time.Millisecond) // by now the victim sleeps
			do()
			return nil
		}},
	}}}
}

func joinOp(name string, fill int, do func(s *queueStage) error, helpless func(s *queueStage) bool, help, come func(s *queueStage)) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/queue join "+name, queueSeg, func(seg *fuzz.Segment) fuzz.Op {
		s := newQueueStage(seg, false)
		return fuzz.Op{
			Init:    func() error { return s.first(fill) },
			Prepare: func() error { s.q().Len(); return nil },
			Do:      func() error { return do(s) },
			Close:   s.close,
			Casts:   unwoken(func() bool { return helpless(s) }, func() { help(s) }, func() { s.q().Len() }, func() { come(s) }),
		}
	})
}

func TestPauseBeforeSleep(t *testing.T) {
	plainBuild(t)
	for _, sc := range []*fuzz.Scenario{pauseQueueRecv, pauseQueueSend, pauseQueueNotify, pauseRingRecv} {
		o := killingQueue()
		o.Points = "10" // the loop over the members is most of them
		fuzz.PauseEach(t, sc, o)
	}
}
