package futex

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Word is one of the places that [WaitAny] sleeps on, and the value that it
// sleeps on.
type Word struct {
	Addr *atomic.Uint32 // where
	Old  uint32         // the value
}

// anySlice is how long WaitAny sleeps between two looks where the kernel has
// no futex_waitv.
const anySlice = 10 * time.Millisecond

// WaitAny sleeps while every word holds its Old, until one of them is woken or
// ctx ends. It takes 1 to 128 words, 127 if ctx can be cancelled.
//
// It returns the index of a word that was woken or that did not hold Old (the
// last of them if there are several), or -1 and an error: ctx.Err(), or the
// kernel's. As with [Wait] a wake may be spurious. On kernels before 5.16 it
// sees a wake only by the word's change, and sleeps in slices of 10 ms.
func WaitAny(ctx context.Context, words ...Word) (int, error) {
	mustHave(ctx)
	limit := maxWaitWords
	if ctx.Done() != nil {
		limit--
	}
	if len(words) == 0 || len(words) > limit {
		return -1, fmt.Errorf("futex: WaitAny with %d words, want 1 to %d: %w", len(words), limit, unix.EINVAL)
	}
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	if !haveWaitv() {
		return waitAnySlices(ctx, words)
	}
	if len(words) < fewWords {
		var buf [fewWords]waitvEntry
		return waitAny(ctx, words, buf[:0])
	}
	return waitMany(ctx, words)
}

//go:noinline
func waitMany(ctx context.Context, words []Word) (int, error) {
	var buf [maxWaitWords]waitvEntry
	return waitAny(ctx, words, buf[:0])
}

// fewWords is what most calls have room in; to clear that for 128 takes longer
// than to look at two.
const fewWords = 8

// waitAny has room in v for the words and the canceller's.
func waitAny(ctx context.Context, words []Word, v []waitvEntry) (int, error) {
	first := 0
	if ctx.Done() != nil {
		c := newCanceller(nil, matchAny)
		defer c.release()
		c.arm(ctx)
		v, first = v[:1], 1
		v[0].set(&c.word, 0, true)
	}
	for _, w := range words {
		v = v[:len(v)+1]
		v[len(v)-1].set(w.Addr, w.Old, false)
	}
	i, e := waitv(v, nil)
	switch {
	case e == 0 && i >= first:
		return i - first, nil
	case e != 0 && e != unix.EAGAIN:
		return -1, sysError("futex_waitv", e)
	}
	// EAGAIN does not say which word differs, and a cancellation must not hide
	// a change.
	if i := changed(words); i >= 0 {
		return i, nil
	}
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	return len(words) - 1, nil // it differed and is back: a spurious wake
}

func changed(words []Word) int {
	for i := len(words) - 1; i >= 0; i-- {
		if words[i].Addr.Load() != words[i].Old {
			return i
		}
	}
	return -1
}

// waitAnySlices sleeps on the first word, which alone is woken at once, and
// looks at the others at the end of each slice.
func waitAnySlices(ctx context.Context, words []Word) (int, error) {
	for {
		if i := changed(words); i >= 0 {
			return i, nil
		}
		if err := ctx.Err(); err != nil {
			return -1, err
		}
		var ts unix.Timespec
		e := sleep(words[0].Addr, words[0].Old, monotonicAfter(anySlice, &ts), matchAny)
		if e == 0 {
			return 0, nil
		}
		if e != unix.ETIMEDOUT && e != unix.EAGAIN {
			return -1, sysError("futex_wait", e)
		}
	}
}
