package shm_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Many queues one after the other, at each a member alone at one end, busy without
// the lock, that another one asks for it at some moment. In half of the rounds one of
// the two is killed in the middle, or both. What they send they write down before the
// call and after, what they receive after it.

const (
	stormQueues = 24
	stormSize   = 4096 // more than goes through a queue
	stormFull   = stormSize - 100
)

type stormBook struct {
	At          [2]atomic.Uint32 // the queue that the member is at, from 1
	Tried, Sent [2][stormQueues]atomic.Uint32
	Calls       [2][stormQueues]atomic.Uint32 // receives, before the call
	Got         [stormQueues][stormSize]atomic.Uint32
}

type stormArgs struct {
	Queues   []*shm.Queue[stamped]
	Book     *shm.Shared[stormBook]
	Who      int
	Receives bool
	Seed     uint64
}

func (a *stormArgs) send(ctx context.Context, r *rand.Rand, i int) (more bool, err error) {
	b, q := a.Book.Ptr(), a.Queues[i]
	seq := b.Tried[a.Who][i].Load()
	if seq >= stormFull/2 {
		return false, nil
	}
	v := stamp(value{a.Who, int(seq)})
	b.Tried[a.Who][i].Store(seq + 1)
	for ok := false; !ok; {
		switch r.IntN(4) {
		case 0:
			ok, err = q.TrySend(v)
		case 1:
			short, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(20))*time.Microsecond)
			var n int
			n, err = q.SendBatch(short, []stamped{v})
			ok = n == 1
			cancel()
		default:
			err = q.Send(ctx, v)
			ok = err == nil
		}
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return false, err
		}
	}
	b.Sent[a.Who][i].Store(seq + 1)
	return true, nil
}

func (a *stormArgs) recv(ctx context.Context, r *rand.Rand, i int) (more bool, err error) {
	b, q := a.Book.Ptr(), a.Queues[i]
	if b.Calls[0][i].Load()+b.Calls[1][i].Load() >= stormFull {
		return false, nil
	}
	b.Calls[a.Who][i].Add(1)
	var s stamped
	ok := true
	switch r.IntN(4) {
	case 0:
		s, ok, err = q.TryRecv()
	case 1:
		short, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(20))*time.Microsecond)
		s, err = q.Recv(short)
		cancel()
	default:
		s, err = q.Recv(ctx)
	}
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return true, nil
	case !ok || err != nil:
		return true, err
	}
	return true, stormGot(b, i, s)
}

func stormGot(b *stormBook, i int, s stamped) error {
	v, err := s.value()
	if err == nil && (v.who > 1 || v.seq >= stormSize) {
		err = errors.New("nobody's message")
	}
	if err == nil && b.Got[i][v.seq<<1&(stormSize-1)|v.who].Add(1) > 1 {
		err = errors.New("came twice")
	}
	if err != nil {
		return fmt.Errorf("queue %d, message %v: %w", i, v, err)
	}
	return nil
}

var storm = proc.Register("shm_test/storm", func(ctx context.Context, a stormArgs) error {
	shm.PlainAtOnce()
	r, b, do := rand.New(rand.NewPCG(a.Seed, uint64(a.Who))), a.Book.Ptr(), a.send
	if a.Receives {
		do = a.recv
	}
	for i := range a.Queues {
		b.At[a.Who].Store(uint32(i + 1))
		for b.At[1-a.Who].Load() <= uint32(i) { // it is busy until the other one has come
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if a.Who != 0 {
				continue
			}
			if more, err := do(ctx, r, i); err != nil {
				return err
			} else if !more {
				break
			}
		}
		for end := clock() + r.Int64N(30_000); a.Who == 1 && clock() < end; {
		}
		for range 50 + r.IntN(200) {
			if more, err := do(ctx, r, i); err != nil {
				return err
			} else if !more {
				break
			}
		}
	}
	return nil
})

func stormRound(t *testing.T, cpus [2]int, receives, kill bool, r *rand.Rand) {
	ctx := watchdog(t, time.Minute)
	book, err := shm.New[stormBook](nil)
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	b := book.Ptr()
	var queues []*shm.Queue[stamped]
	for range stormQueues {
		q, err := shm.NewQueue[stamped](stormSize)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		queues = append(queues, q)
		for n := 0; receives && n < stormFull; n++ {
			if err := q.Send(ctx, stamp(value{n & 1, n >> 1})); err != nil {
				t.Fatal(err)
			}
		}
	}
	var members [2]*proc.Process
	for who := range members {
		members[who] = started(t)(storm.StartCmd(ctx, &proc.Cmd{CPUs: cpus[who : who+1]}, stormArgs{queues, book, who, receives, r.Uint64()}))
	}
	var victims [2]bool
	if kill {
		for at := uint32(r.IntN(stormQueues)); b.At[0].Load() <= at; time.Sleep(20 * time.Microsecond) {
			if ctx.Err() != nil {
				t.Fatal("nobody at the queues")
			}
		}
		time.Sleep(time.Duration(r.IntN(400)) * time.Microsecond)
		which := 1 + r.IntN(3)
		for who, p := range members {
			if victims[who] = which&(1<<who) != 0; victims[who] {
				p.Signal(unix.SIGKILL)
			}
		}
	}
	for who, p := range members {
		if !victims[who] && victims[1-who] { // it may wait for the other one to come
			time.Sleep(2 * time.Millisecond)
			p.Signal(unix.SIGKILL)
			victims[who] = true
		}
		if _, err := p.Wait(ctx); err != nil && !victims[who] {
			t.Error(who, err)
		}
	}
	for i, q := range queues {
		stormCheck(t, b, q, i, receives, victims)
	}
}

// stormCheck is the next member at both ends, and looks at what came through.
func stormCheck(t *testing.T, b *stormBook, q *shm.Queue[stamped], i int, receives bool, died [2]bool) {
	ctx := watchdog(t, 10*time.Second)
	n := q.Len()
	if err := q.Send(ctx, stamp(value{0, stormSize - 1})); err != nil {
		t.Fatalf("queue %d: Send afterwards: %v", i, err)
	}
	next := [2]int{}
	for k := range n + 1 {
		s, err := q.Recv(ctx)
		if err != nil {
			t.Fatalf("queue %d: Recv afterwards: %v", i, err)
		}
		if k == n {
			break
		}
		v, _ := s.value()
		if v.who < 2 && v.seq < next[v.who] {
			t.Errorf("queue %d: %v after %d", i, v, next[v.who]-1)
		}
		if err := stormGot(b, i, s); err != nil {
			t.Fatal(err)
		}
		next[v.who] = v.seq + 1
	}
	if receives {
		lost, most := 0, 0
		for n := range stormFull {
			if b.Got[i][n].Load() == 0 {
				lost++
			}
		}
		for who, d := range died {
			if d && b.At[who].Load() == uint32(i+1) {
				most++
			}
		}
		if lost > most {
			t.Errorf("queue %d: %d messages lost, want %d at most", i, lost, most)
		}
		return
	}
	for who := range 2 {
		tried, sent := int(b.Tried[who][i].Load()), int(b.Sent[who][i].Load())
		if got := next[who]; got < sent || got > tried {
			t.Errorf("queue %d: of sender %d came %d messages, it tried %d, and had sent %d", i, who, got, tried, sent)
		}
		for seq := range next[who] {
			if b.Got[i][seq<<1|who].Load() != 1 {
				t.Fatalf("queue %d: message %d of sender %d is lost", i, seq, who)
			}
		}
	}
}

func TestAloneStorm(t *testing.T) {
	if !shm.PlainAtOnce() {
		t.Skip("no stores without fences here, or no membarrier")
	}
	cpus, rounds := twoCPUs(t), 40
	switch {
	case *long:
		rounds = 2000
	case testing.Short() || raceEnabled:
		rounds = 8
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for k := range rounds {
		if stormRound(t, cpus, k&1 == 1, k&2 == 2, r); t.Failed() {
			t.Fatalf("in round %d", k)
		}
	}
}
