package pool_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
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

// fragile dies of 13, and returns an error or panics when told to.
var fragile = pool.Register("fragile", func(_ context.Context, n int) (int, error) {
	switch n {
	case 13:
		go panic("goroutine down")
		select {}
	case 14:
		os.Exit(3)
	case 15:
		return 0, errors.New("broken")
	}
	return n, nil
})

// Errors say which of many arguments it was, in a field and in their text, and of
// a crash its first line alone.
func TestItems(t *testing.T) {
	p := poolOf(t, &pool.Config{Workers: 1, Chunk: 4, Stderr: io.Discard})
	ctx := within(t)
	const at = 6 // in the middle of the second chunk
	for bad, want := range map[int]string{
		13: "died: exit status 2: panic: goroutine down",
		14: "died: exit status 3",
		15: "pool: fragile: item 6: broken",
	} {
		in := slices.Collect(count(10))
		in[at] = bad
		_, err := fragile.Map(ctx, p, in)
		var seq, unordered error
		for _, err := range fragile.MapSeq(ctx, p, slices.Values(in)) {
			seq = cmp.Or(seq, err)
		}
		for _, err := range fragile.MapUnordered(ctx, p, slices.Values(in)) {
			unordered = cmp.Or(unordered, err)
		}
		for _, err := range []error{err, seq, unordered} {
			item := -1
			var task *pool.TaskError
			var dead *pool.WorkerError
			if errors.As(err, &task) {
				item = task.Item
			} else if errors.As(err, &dead) {
				item = dead.Item
				if strings.Contains(dead.Err.Error(), "context") {
					t.Errorf("%d: %v, but nobody told it to end", bad, dead.Err)
				}
			}
			if item != at || !strings.HasPrefix(err.Error(), "pool: fragile: item 6: ") || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%d: item %d: %v, want %d and %q", bad, item, err, at, want)
			}
		}
		if _, err := fragile.Call(ctx, p, bad); err == nil || strings.Contains(err.Error(), "item") {
			t.Errorf("%d, alone: %v", bad, err)
		}
	}
}
