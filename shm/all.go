package shm

import (
	"context"
	"io"
	"iter"
)

// need panics if there is no context, at the beginning of a call: later on the
// call would hold what nobody gives back.
func need(ctx context.Context) {
	if ctx == nil {
		panic("shm: nil context")
	}
}

// needFunc likewise.
func needFunc[A any](f func(A) error) {
	if f == nil {
		panic("shm: nil function")
	}
}

// received is a queue's All. It looks at ctx before each message: recv does so
// only where it has to wait, so that a sender who is faster than the loop would
// keep it going for ever.
func received[T any](ctx context.Context, recv func(context.Context) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		need(ctx)
		for {
			var v T
			err := ctx.Err()
			if err == nil {
				v, err = recv(ctx)
			}
			if err == io.EOF || !yield(v, err) || err != nil {
				return
			}
		}
	}
}
