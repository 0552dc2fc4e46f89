package shm_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Two members meet at the sending end a great many times: one is alone there and
// sends without a pause, the other one comes at some moment of a few ns. Both then
// look whether all came through, and begin anew.
func TestAloneMeet(t *testing.T) {
	twoCPUs(t)
	const burst = 24
	q := aloneAt(t, 1024)
	r := anew(t, q)
	r.Len()
	d, rounds := 2*time.Second, int64(0)
	switch {
	case *long:
		d = time.Minute
	case testing.Short() || raceEnabled:
		d = 300 * time.Millisecond
	}
	var turn, came, done atomic.Int64
	type report struct {
		n   uint64
		err error
	}
	var other report
	go func() {
		for k := int64(1); ; k++ {
			for i := 1; turn.Load() < k; i++ {
				if i%1000 == 0 {
					runtime.Gosched() // others may want the CPU
				}
			}
			if turn.Load() > k {
				return
			}
			for end := clock() + k*7919%600; clock() < end; {
			}
			other = report{}
			came.Store(k)
			for range burst / 4 {
				if other.err = r.Send(bg, 1<<32|other.n); other.err != nil {
					break
				}
				other.n++
			}
			done.Store(k)
		}
	}()
	start, alone := time.Now(), 0
	defer turn.Store(1 << 40) // also when it fails
	var buf [1024]uint64
	for k := int64(1); time.Since(start) < d; k++ {
		rounds = k
		q.SetUser(0, 0) // all that was is forgotten
		for range 2 {
			q.Send(bg, 0)
		}
		if q.Alone(0) {
			alone++
		}
		q.RecvBatch(bg, buf[:])
		turn.Store(k)
		n := uint64(0)
		for ; n < burst || came.Load() < k; n++ {
			if n < 900 {
				if err := q.Send(bg, n); err != nil {
					t.Fatal(err)
				}
			} else {
				runtime.Gosched()
			}
		}
		n = min(n, 900)
		var began time.Time
		for i := 0; done.Load() < k; i++ {
			switch {
			case i%1000 != 999:
				continue
			case began.IsZero():
				began = time.Now()
			case time.Since(began) > 20*time.Second:
				t.Fatalf("round %d: the other one does not come through", k)
			}
			runtime.Gosched()
		}
		if other.err != nil {
			t.Fatal(other.err)
		}
		total, err := q.RecvBatch(bg, buf[:])
		if err != nil {
			t.Fatal(err)
		}
		next := [2]uint64{}
		for _, v := range buf[:total] {
			if v>>32 > 1 || v&(1<<32-1) != next[v>>32] {
				t.Fatalf("round %d: message %#x, want number %d", k, v, next)
			}
			next[v>>32]++
		}
		if next != [2]uint64{n, other.n} {
			t.Fatalf("round %d: %d messages came, of %d and %d", k, next, n, other.n)
		}
	}
	t.Logf("alone in %d of %d rounds", alone, rounds)
	if alone < int(rounds)/2 {
		t.Error("seldom alone")
	}
}
