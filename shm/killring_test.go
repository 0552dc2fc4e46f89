package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// What is killed here: both ends of a ring, with the other end asleep. It gets
// what was committed, and then ErrPeerDead; somebody else can take the place.

const ringSeg = 2 * killPage

// ringStage is a ring that fills a scenario's segment, as one process has it.
type ringStage struct {
	w    func() *shm.RingWriter
	r    func() *shm.RingReader
	file func() *os.File
	undo []func() error
}

func newRingStage(seg *fuzz.Segment) *ringStage {
	s := new(ringStage)
	s.file = func() *os.File {
		fd, err := unix.FcntlInt(seg.File.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		check(err)
		return os.NewFile(uintptr(fd), "segment")
	}
	s.w = sync.OnceValue(func() *shm.RingWriter {
		w := new(shm.RingWriter)
		check(w.TakeFiles([]*os.File{s.file()}))
		s.undo = append(s.undo, w.Close)
		w.SetSpin(-1)
		return w
	})
	s.r = sync.OnceValue(func() *shm.RingReader {
		r := new(shm.RingReader)
		check(r.TakeFiles([]*os.File{s.file()}))
		s.undo = append(s.undo, r.Close)
		r.SetSpin(-1)
		return r
	})
	return s
}

func (s *ringStage) close() (err error) {
	for _, f := range s.undo {
		err = errors.Join(err, f())
	}
	s.undo = nil
	return err
}

// Messages are 1000 times the same byte: four fill the ring.
const (
	ringMessage = 1000
	ringHolds   = 4
)

func (s *ringStage) send(n byte) error {
	msg := make([]byte, ringMessage)
	for i := range msg {
		msg[i] = n
	}
	return s.w().Send(context.Background(), msg)
}

func (s *ringStage) recv() (byte, error) {
	msg := make([]byte, ringMessage)
	n, err := s.r().Recv(context.Background(), msg)
	if err != nil {
		return 0, err
	}
	for _, b := range msg[:n] {
		if b != msg[0] || n != ringMessage {
			return 0, fmt.Errorf("a torn message of %d bytes: %d and %d", n, msg[0], b)
		}
	}
	return msg[0], nil
}

// ringOp registers an operation of one end. prepare makes the victim that end's
// owner; peer is the other end.
func ringOp(name string, prepare, do func(s *ringStage) error, peer func(s *ringStage) error, after func(s *ringStage, died bool) error) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/ring "+name, ringSeg, func(seg *fuzz.Segment) fuzz.Op {
		s := newRingStage(seg)
		return fuzz.Op{
			Init:    func() error { return shm.RingIn(s.file(), ringSeg) },
			Prepare: func() error { return prepare(s) },
			Do:      func() error { return do(s) },
			Check:   func(died bool) error { return after(s, died) },
			Close:   s.close,
			Casts: []fuzz.Cast{{Name: "nobody"}, {Name: "other end", Peers: []fuzz.Peer{
				{Name: "other end", When: fuzz.Asleep, Run: func(*fuzz.Cue) error {
					if err := peer(s); err != nil {
						return err
					}
					return s.close()
				}},
			}}},
		}
	})
}

// ringReader reads message 1, which the victim sent before the operation, and
// what it sent in it.
func ringReader(want ...byte) func(s *ringStage) error {
	return func(s *ringStage) error {
		for i, n := range append([]byte{1}, want...) {
			got, err := s.recv()
			if i > 0 && (errors.Is(err, shm.ErrPeerDead) || err == io.EOF) {
				return nil
			}
			if err != nil || got != n {
				return fmt.Errorf("message %d: %d, %v, want %d", i, got, err, n)
			}
		}
		return nil
	}
}

// ringSender sends one message more than fit behind the one that the victim
// takes.
func ringSender(s *ringStage) error {
	for i := range ringHolds {
		if err := s.send(byte(10 + i)); errors.Is(err, shm.ErrPeerDead) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// refill is the check after a writer's operation: another takes its place, and
// all that is in the ring is whole.
func refill(s *ringStage, died bool) error {
	if !died {
		return nil
	}
	if err := s.send(99); errors.Is(err, os.ErrClosed) {
		return nil // the stream has ended
	} else if err != nil {
		return err
	}
	for range 2 * ringHolds {
		if n, err := s.recv(); err != nil || n == 99 {
			return err
		}
	}
	return errors.New("the message of the new writer never came")
}

// drain is the check after a reader's operation: another takes its place.
func drain(s *ringStage, died bool) error {
	for died {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		_, err := s.r().Recv(ctx, make([]byte, ringMessage))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, shm.ErrPeerDead) {
			break
		} else if err != nil {
			return err
		}
	}
	return nil
}

var (
	killRingSend = ringOp("send",
		func(s *ringStage) error { return s.send(1) },
		func(s *ringStage) error { return s.send(2) }, ringReader(2), refill)
	// Without a fence, as after many messages; so is the first one a recv takes.
	killRingPlainSend = ringOp("send without a fence",
		func(s *ringStage) error { shm.PlainAtOnce(); return s.send(1) },
		func(s *ringStage) error { return s.send(2) }, ringReader(2), refill)
	killRingPlainRecv = ringOp("recv without a fence",
		func(s *ringStage) error {
			shm.PlainAtOnce()
			return errors.Join(s.send(1), second(s.recv()), s.send(1), s.w().Close(), disown(s))
		},
		func(s *ringStage) error { return second(s.recv()) }, ringSender, drain)
	killRingFirst = ringOp("first send",
		func(s *ringStage) error { s.w(); return nil },
		func(s *ringStage) error { return errors.Join(s.send(1), s.send(2)) },
		func(s *ringStage) error { return nil }, refill)
	killRingReserve = ringOp("reserve and commit",
		func(s *ringStage) error { return s.send(1) },
		func(s *ringStage) error {
			b, err := s.w().Reserve(context.Background(), ringMessage)
			if err != nil {
				return err
			}
			for i := range b {
				b[i] = 2
			}
			s.w().Commit(len(b))
			return nil
		}, ringReader(2), refill)
	killRingEnd = ringOp("closesend",
		func(s *ringStage) error { return s.send(1) },
		func(s *ringStage) error { return s.w().CloseSend() }, ringReader(2), refill)
	killRingRecv = ringOp("recv",
		func(s *ringStage) error { // the reader's owner, with one message to come
			return errors.Join(s.send(1), second(s.recv()), s.send(1), s.w().Close(), disown(s))
		},
		func(s *ringStage) error { return second(s.recv()) }, ringSender, drain)
	killRingPeek = ringOp("peek and advance",
		func(s *ringStage) error {
			return errors.Join(s.send(1), second(s.recv()), s.send(1), s.w().Close(), disown(s))
		},
		func(s *ringStage) error {
			if _, err := s.r().Peek(context.Background()); err != nil {
				return err
			}
			s.r().Advance()
			return nil
		}, ringSender, drain)
)

// disown makes close leave the writer alone, which is closed already.
func disown(s *ringStage) error {
	s.undo = []func() error{s.r().Close}
	return nil
}

func TestKillPointsRingSend(t *testing.T) {
	killQueue(t, killRingSend, killRingPlainSend, killRingFirst, killRingReserve, killRingEnd)
}
func TestKillPointsRingRecv(t *testing.T) {
	killQueue(t, killRingRecv, killRingPlainRecv, killRingPeek)
}
