package mq_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
	"golang.org/x/sys/unix"
)

// A doomed is a child that is killed; it counts what it has done.
type doomed struct {
	Name    string
	Sending bool
	Begun   *shm.Shared[atomic.Int64] // calls
	Done    *shm.Shared[atomic.Int64] // calls that have returned
}

// toil sends numbers, or receives them and expects no gap, until it is killed.
var toil = proc.Register("mq-toil", func(ctx context.Context, d doomed) error {
	q, err := mq.Open(d.Name, os.O_RDWR)
	if err != nil {
		return err
	}
	begun, done := d.Begun.Ptr(), d.Done.Ptr()
	buf := make([]byte, 64)
	for {
		i := begun.Add(1) - 1
		if d.Sending {
			err = q.Send(ctx, binary.LittleEndian.AppendUint64(nil, uint64(i)), 0)
		} else {
			_, _, err = q.Recv(ctx, buf)
		}
		if err != nil {
			return err
		}
		done.Add(1)
	}
})

func doom(t testing.TB, name string, sending bool) (d doomed, p *proc.Process) {
	t.Helper()
	counter := func() *shm.Shared[atomic.Int64] {
		c, err := shm.New[atomic.Int64](nil)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	d = doomed{name, sending, counter(), counter()}
	return d, start(t, toil, nil, d)
}

// free gives back what a round took: there are many rounds.
func (d doomed) free(t testing.TB) {
	t.Helper()
	must(t, d.Begun.Close())
	must(t, d.Done.Close())
}

func kill(t testing.TB, p *proc.Process) {
	t.Helper()
	must(t, p.Kill())
	p.Wait(bg)
}

func number(buf []byte) int64 { return int64(binary.LittleEndian.Uint64(buf)) }

// A sender killed while it is blocked, and anywhere else: what it counted as
// sent is there, in order, and at most one message more.
func TestCase201_SenderKilled(t *testing.T) {
	q, name := fresh(t, small(3))
	buf := make([]byte, 64)
	for round := range times(4, 20, 10_000) {
		d, p := doom(t, name, true)
		next := int64(0)
		if round%4 != 0 { // else it is blocked for want of room
			for range 1 + rand.IntN(500) {
				within(t, "Recv", func() {
					_, _, err := q.Recv(bg, buf)
					must(t, err)
				})
				if number(buf) != next {
					t.Fatalf("round %d: %d, want %d", round, number(buf), next)
				}
				next++
			}
		} else {
			until(t, "sender without room", func() bool { return d.Begun.Ptr().Load() == 4 })
			blocked()
		}
		kill(t, p)
		for {
			_, _, ok, err := q.TryRecv(buf)
			must(t, err)
			if !ok {
				break
			}
			if number(buf) != next {
				t.Fatalf("round %d: %d, want %d", round, number(buf), next)
			}
			next++
		}
		if begun, done := d.Begun.Ptr().Load(), d.Done.Ptr().Load(); next != done && next != begun {
			t.Fatalf("round %d: %d messages came, %d were sent, %d begun", round, next, done, begun)
		}
		d.free(t)
	}
}

// A receiver killed while it is blocked takes nothing. Killed anywhere else, it
// has what it counted, and at most the one message that was in its hands: that
// one is gone, and the next one follows.
func TestCase201_ReceiverKilled(t *testing.T) {
	q, name := fresh(t, small(3))
	buf := make([]byte, 64)
	lost := 0
	for round := range times(4, 20, 10_000) {
		d, p := doom(t, name, false)
		sent := int64(0)
		if round%4 != 0 {
			for range 1 + rand.IntN(500) {
				within(t, "Send", func() { must(t, q.Send(bg, binary.LittleEndian.AppendUint64(nil, uint64(sent)), 0)) })
				sent++
			}
		} else {
			until(t, "receiver", func() bool { return d.Begun.Ptr().Load() == 1 })
			blocked()
		}
		kill(t, p)
		if st, err := q.Stat(); err != nil || round%4 == 0 && st.Messages != 0 {
			t.Fatal(st, err)
		}
		// One more, so that one is left in any case: without room there are.
		if _, err := q.TrySend(binary.LittleEndian.AppendUint64(nil, uint64(sent)), 0); err != nil {
			t.Fatal(err)
		}
		first := int64(-1)
		for {
			_, _, ok, err := q.TryRecv(buf)
			must(t, err)
			if !ok {
				break
			}
			if first < 0 {
				first = number(buf)
			}
		}
		begun, done := d.Begun.Ptr().Load(), d.Done.Ptr().Load()
		if first != done && first != begun {
			t.Fatalf("round %d: the first that is left is %d; %d were received, %d begun", round, first, done, begun)
		}
		if first > done {
			lost++
		}
		d.free(t)
	}
	t.Logf("%d messages were in dead hands", lost)
}

// C programs sleep in the kernel itself; killed there, they leave nothing.
func TestCase201_CKilled(t *testing.T) {
	bin := compilePeer(t)
	q, name := fresh(t, small(1))
	buf := make([]byte, 64)
	for range times(3, 10, 1000) {
		cmd, _ := peer(t, bin, "recv", name, "1")
		asleep(t, cmd.Process.Pid, cmd.Process.Pid, unix.SYS_MQ_TIMEDRECEIVE)
		must(t, cmd.Process.Kill())
		cmd.Wait()
		must(t, q.Send(bg, []byte("1"), 0))
		cmd, _ = peer(t, bin, "send", name, "9:2")
		asleep(t, cmd.Process.Pid, cmd.Process.Pid, unix.SYS_MQ_TIMEDSEND)
		must(t, cmd.Process.Kill())
		cmd.Wait()
		n, prio, ok, err := q.TryRecv(buf)
		if string(buf[:n]) != "1" || prio != 0 || !ok || err != nil {
			t.Fatalf("%q, %d, %v, %v", buf[:n], prio, ok, err)
		}
		if _, _, ok, err := q.TryRecv(buf); ok || err != nil {
			t.Fatalf("a message of the dead: %v, %v", ok, err)
		}
	}
}

// A receiver that dies with a message in its hands takes it along; the others
// stay, in order.
func TestCase201_MessageInHand(t *testing.T) {
	q, name := fresh(t, small(3))
	for i := range uint64(3) {
		must(t, q.Send(bg, binary.LittleEndian.AppendUint64(nil, i), 0))
	}
	p := start(t, holdsOne, nil, name)
	until(t, "message in hand", func() bool { st, err := q.Stat(); return err == nil && st.Messages == 2 })
	kill(t, p)
	buf := make([]byte, 64)
	for want := int64(1); want < 3; want++ {
		ctx, cancel := context.WithTimeout(bg, hang)
		_, _, err := q.Recv(ctx, buf)
		cancel()
		if err != nil || number(buf) != want {
			t.Errorf("%d, %v, want %d", number(buf), err, want)
		}
	}
}

var holdsOne = proc.Register("mq-holds-one", func(ctx context.Context, name string) error {
	q, err := mq.Open(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	if _, _, err := q.Recv(ctx, make([]byte, 64)); err != nil {
		return err
	}
	time.Sleep(time.Hour)
	return nil
})
