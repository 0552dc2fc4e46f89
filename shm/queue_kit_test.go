package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

type item struct {
	Producer uint32
	Sum      uint32
	Seq      uint64
}

func (i item) sum() uint32 { return i.Producer*2654435761 ^ uint32(i.Seq) ^ uint32(i.Seq>>32) }

type produceArgs struct {
	Queue    *shm.Queue[item]
	Producer uint32
	N        int
	Batch    int
}

var produce = proc.Register("shm_test/produce", func(ctx context.Context, a produceArgs) error {
	defer a.Queue.Close()
	batch := make([]item, 0, max(a.Batch, 1))
	for i := range a.N {
		it := item{Producer: a.Producer, Seq: uint64(i)}
		it.Sum = it.sum()
		if a.Batch == 0 {
			if err := a.Queue.Send(ctx, it); err != nil {
				return err
			}
			continue
		}
		if batch = append(batch, it); len(batch) == cap(batch) || i == a.N-1 {
			if n, err := a.Queue.SendBatch(ctx, batch); err != nil || n != len(batch) {
				return fmt.Errorf("sent %d of %d: %w", n, len(batch), err)
			}
			batch = batch[:0]
		}
	}
	return nil
})

type consumeArgs struct {
	Queue *shm.Queue[item]
	Got   *shm.Array[uint64] // per producer: messages, then the sum of their numbers
	Batch int
}

var consume = proc.Register("shm_test/consume", func(ctx context.Context, a consumeArgs) error {
	defer a.Queue.Close()
	defer a.Got.Close()
	half := a.Got.Len() / 2
	counts, sums, last := make([]uint64, half), make([]uint64, half), make([]uint64, half)
	buf := make([]item, max(a.Batch, 1))
	for {
		n, err := 1, error(nil)
		if a.Batch == 0 {
			buf[0], err = a.Queue.Recv(ctx)
		} else {
			n, err = a.Queue.RecvBatch(ctx, buf)
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		for _, it := range buf[:n] {
			p := it.Producer
			if int(p) >= half || it.Sum != it.sum() || counts[p] > 0 && it.Seq <= last[p] {
				return fmt.Errorf("message %+v after %d of that producer", it, last[min(int(p), half-1)])
			}
			counts[p], sums[p], last[p] = counts[p]+1, sums[p]+it.Seq, it.Seq
		}
	}
	return a.Got.Update(func(xs []uint64) error {
		for p := range half {
			xs[p] += counts[p]
			xs[half+p] += sums[p]
		}
		return nil
	})
})

func watchdog(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func newQueue[T any](t testing.TB, capacity int) *shm.Queue[T] {
	t.Helper()
	q, err := shm.NewQueue[T](capacity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	return q
}

func started(t testing.TB) func(*proc.Process, error) *proc.Process {
	return func(p *proc.Process, err error) *proc.Process {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}
