package shm_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// echoArgs: one end answers at once, without a fence, whoever looks at it; the
// other one goes to sleep as soon as it has asked.
type echoArgs struct {
	W      *shm.RingWriter
	R      *shm.RingReader
	N      int
	Forbid bool // membarrier, to the sleeper
}

var echoer = proc.Register("shm_test/echoer", func(ctx context.Context, a echoArgs) error {
	shm.PlainAtOnce()
	defer a.W.Close()
	defer a.R.Close()
	a.R.SetSpin(time.Hour / 4)
	var buf [8]byte
	for i := range a.N {
		if _, err := a.R.Recv(ctx, buf[:]); err != nil {
			return err
		}
		for end := clock() + rand.Int64N(1500); clock() < end; { // the moment to hit is a few ns long
		}
		binary.LittleEndian.PutUint64(buf[:], uint64(clock()))
		if err := a.W.Send(ctx, buf[:]); err != nil {
			return err
		}
		if i == a.N-1 && !a.W.Plain() {
			return fmt.Errorf("this end still makes a fence with each message")
		}
	}
	return nil
})

// asks sends n messages and sleeps for each answer. It returns how many were
// there for 300 ms and more while it slept on, until its time was over.
func asks(t *testing.T, n int, forbid bool) (late int) {
	t.Helper()
	if !shm.PlainAtOnce() {
		t.Skip("no stores without fences here, or no membarrier")
	}
	cpus := twoCPUs(t)
	ctx := watchdog(t, time.Minute)
	w, r1, err := shm.NewRing(4096)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w2, r, err := shm.NewRing(4096)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := started(t)(echoer.StartCmd(ctx, &proc.Cmd{CPUs: cpus[1:]}, echoArgs{W: w2, R: r1, N: n}))
	r1.Close()
	w2.Close()
	if forbid {
		defer shm.ForbidFences()()
	}
	r.SetSpin(-1)
	var buf [8]byte
	for range n {
		if err := w.Send(ctx, buf[:]); err != nil {
			t.Fatal(err)
		}
		for slept, over := false, int64(0); ; slept, over = true, clock() {
			short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			_, err := r.Recv(short, buf[:])
			cancel()
			if err == nil {
				if sent := int64(binary.LittleEndian.Uint64(buf[:])); slept && over-sent > int64(300*time.Millisecond) {
					late++
				}
				break
			} else if ctx.Err() != nil {
				t.Fatalf("no answer: %v", err)
			}
		}
	}
	if _, err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return late
}

// An end that commits without a fence wakes who goes to sleep at that moment.
func TestRingPlainLosesNoWake(t *testing.T) {
	n := 100_000
	if testing.Short() || raceEnabled {
		n = 10_000
	}
	start := time.Now()
	if late := asks(t, n, false); late > 0 {
		t.Errorf("%d of %d answers were late", late, n)
	}
	t.Logf("%v a trip", time.Since(start)/time.Duration(n))
}

// Who may not make the fence sleeps a little at a time, beside an end without.
func TestRingPlainWithoutMembarrier(t *testing.T) {
	if late := asks(t, 2000, true); late > 0 {
		t.Errorf("%d answers were late", late)
	}
}
