package pool_test

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/pool"
)

// explosive goes off where its codec is asked to.
type explosive struct{ Encode, Decode, Exit bool }

func (e explosive) GobEncode() ([]byte, error) {
	switch {
	case e.Exit:
		runtime.Goexit()
	case e.Encode:
		panic("bang")
	case e.Decode:
		return []byte{1}, nil
	}
	return []byte{0}, nil
}

func (e *explosive) GobDecode(b []byte) error {
	if b[0] == 1 {
		panic("bang")
	}
	return nil
}

var (
	defuse = pool.Register("defuse", func(_ context.Context, e *explosive) (int, error) { return 1, nil })
	arm    = pool.Register("arm", func(_ context.Context, n int) (*explosive, error) {
		return &explosive{Encode: n == 1, Decode: n == 2}, nil
	})
)

// A codec that panics, here or in the worker, fails its call and no other.
func TestCodecPanics(t *testing.T) {
	p, ctx := newPool(t, 1), within(t)
	before, err := pid.Call(ctx, p, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	encode, decode := &explosive{Encode: true}, &explosive{Decode: true}
	call := func(e *explosive) error { _, err := defuse.Call(ctx, p, e); return err }
	for _, c := range []struct {
		want string
		err  error
	}{
		{"defuse: encoding the argument: panic: bang", call(encode)},
		{"defuse: decoding the argument: panic: bang", call(decode)},
		{"arm: encoding the result: panic: bang", arm.CallInto(ctx, p, 1, new(*explosive))},
		{"arm: decoding the result: panic: bang", arm.CallInto(ctx, p, 2, new(*explosive))},
		{"defuse: encoding the argument: panic: bang", func() error {
			_, err := defuse.Map(ctx, p, []*explosive{encode})
			return err
		}()},
		{"defuse: encoding the argument: panic: bang", func() (first error) {
			for _, err := range defuse.MapSeq(ctx, p, slices.Values([]*explosive{encode})) {
				first = errors.Join(first, err)
			}
			return first
		}()},
		{"double: CallInto: nil pointer for the result", double.CallInto(ctx, p, 1, nil)},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%v, want %q", c.err, c.want)
		}
	}
	task := (*pool.TaskError)(nil)
	if err := call(decode); !errors.As(err, &task) || !strings.Contains(string(task.Stack), "GobDecode") {
		t.Errorf("no stack: %#v", err)
	}
	if after, err := pid.Call(ctx, p, struct{}{}); after != before || err != nil {
		t.Errorf("worker %d, then %d, %v", before, after, err)
	}
}

// An input that panics, or ends its goroutine, does so in the loop, after the results
// of what it had yielded; also where the loop has ended before.
func TestInputPanics(t *testing.T) {
	bang := errors.New("bang")
	for name, f := range map[string]func(context.Context, *pool.Pool, iter.Seq[int]) iter.Seq2[int, error]{
		"MapSeq": double.MapSeq, "MapUnordered": double.MapUnordered,
	} {
		for _, chunk := range []int{0, 2} {
			p := poolOf(t, &pool.Config{Workers: 2, Chunk: chunk})
			loop := func(end func(), few int) (got []int, v any) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() {
						if r := recover(); r != nil {
							v = r
						}
					}()
					v = "gone"
					in := func(yield func(int) bool) {
						defer end()
						_ = yield(1) && yield(2) && yield(3)
					}
					for n, err := range f(bg, p, in) {
						if got = append(got, n); err != nil || len(got) == few {
							break
						}
					}
					v = "nothing"
				}()
				<-done
				slices.Sort(got)
				return got, v
			}
			if got, v := loop(func() { panic(bang) }, 0); v != bang || !slices.Equal(got, []int{2, 4, 6}) {
				t.Errorf("%s, chunk %d: %v, then %v", name, chunk, got, v)
			}
			if got, v := loop(func() { panic(bang) }, 1); v != bang || len(got) != 1 {
				t.Errorf("%s, chunk %d, and the loop ends: %v, then %v", name, chunk, got, v)
			}
			if got, v := loop(runtime.Goexit, 0); v != "gone" || !slices.Equal(got, []int{2, 4, 6}) {
				t.Errorf("%s, chunk %d, Goexit: %v, then %v", name, chunk, got, v)
			}
			healthy(t, p, 2)
		}
	}
}

// A goroutine that ends in the middle of its call leaves the pool whole.
func TestCallersGoroutineEnds(t *testing.T) {
	p := newPool(t, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defuse.Call(bg, p, &explosive{Exit: true})
	}()
	<-gone
	healthy(t, p, 1)
	if err := p.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
}

// No context is the caller's own panic, in the caller's goroutine.
func TestNilContext(t *testing.T) {
	p := newPool(t, 1)
	var none context.Context
	for what, f := range map[string]func(){
		"Call":   func() { double.Call(none, p, 1) },
		"Go":     func() { double.Go(none, p, 1) },
		"Map":    func() { double.Map(none, p, []int{1}) },
		"MapSeq": func() { double.MapSeq(none, p, count(1))(func(int, error) bool { return true }) },
	} {
		func() {
			defer func() {
				if v := recover(); v != "pool: nil context" {
					t.Errorf("%s: %v", what, v)
				}
			}()
			f()
		}()
	}
	healthy(t, p, 1)
	if err := p.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
}
