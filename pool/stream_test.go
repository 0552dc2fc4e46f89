package pool_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"testing"

	"github.com/rawipc/rawipc/pool"
)

// A stream whose input blocks ends with its context, and with the pool: the loop
// hears of it before the input goes on.
func TestStreamEndsWhileInputBlocks(t *testing.T) {
	for name, f := range map[string]func(context.Context, *pool.Pool, iter.Seq[int]) iter.Seq2[int, error]{
		"MapSeq": double.MapSeq, "MapUnordered": double.MapUnordered,
	} {
		for want, end := range map[error]func(*pool.Pool, context.CancelFunc){
			context.Canceled: func(_ *pool.Pool, cancel context.CancelFunc) { cancel() },
			os.ErrClosed:     func(p *pool.Pool, _ context.CancelFunc) { p.Close() },
		} {
			p := newPool(t, 1)
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			goOn, slow, stopped := make(chan struct{}), within(t), false
			in := func(yield func(int) bool) {
				stopped = yield(1)
				select {
				case <-goOn:
				case <-slow.Done():
				}
				stopped = stopped && !yield(2)
			}
			var got []int
			var errs []error
			for v, err := range f(ctx, p, in) {
				if err == nil {
					got = append(got, v)
					go end(p, cancel)
					continue
				}
				errs = append(errs, err)
				if slow.Err() != nil {
					t.Errorf("%s, %v: only when the input went on", name, want)
					break
				}
				close(goOn)
			}
			if len(got) != 1 || len(errs) != 1 || !errors.Is(errs[0], want) {
				t.Errorf("%s: %v, %v, want %v", name, got, errs, want)
			}
			if want == context.Canceled && !stopped {
				t.Errorf("%s: the input was not stopped", name)
			}
			healthyOrClosed(t, p)
		}
	}
}

func healthyOrClosed(t *testing.T, p *pool.Pool) {
	t.Helper()
	if n, err := double.Call(within(t), p, 1); !errors.Is(err, os.ErrClosed) && (n != 2 || err != nil) {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}
