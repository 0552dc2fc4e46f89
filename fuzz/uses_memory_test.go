package fuzz_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/shm"
)

// memoryUses are objects of package shm.
var memoryUses = map[string]use{
	"anonymous": using(func() (*shm.Object, error) { return shm.CreateAnon("use", 4096, &shm.Attr{Growable: true}) },
		func(_ context.Context, o *shm.Object) error {
			m, err := o.Map(0, 0, shm.ReadWrite)
			if err != nil {
				return err
			}
			_, err = m.WriteAt([]byte("x"), 4095)
			return errors.Join(err, o.Grow(8192), m.Remap(0), m.Close())
		}),
	"named": using(func() (*shm.Object, error) { return shm.Create(useName(), 4096, nil) },
		func(context.Context, *shm.Object) error {
			o, err := shm.Open(useName(), nil)
			if err == nil {
				err = o.Close()
			}
			return errors.Join(err, shm.Unlink(useName()))
		}),
	"sweep": func(context.Context) error {
		name := useName() + "-sweep"
		v, err := shm.CreateValue(name, 7, nil)
		if err != nil {
			return err
		}
		used, err := shm.Sweep(name)
		err = errors.Join(err, v.Close())
		removed, e := shm.Sweep(name)
		if len(used) != 0 || !slices.Equal(removed, []string{name}) {
			e = errors.Join(e, fmt.Errorf("swept: %q while it was used, and then %q", used, removed))
		}
		return errors.Join(err, e)
	},
	"value": using(func() (*shm.Value[couple], error) { return shm.NewValue(couple{A: 7}) },
		func(ctx context.Context, v *shm.Value[couple]) error {
			err := v.UpdateContext(ctx, func(c *couple) error { c.A++; return nil })
			if v.Load().A != 8 {
				err = errors.Join(err, errors.New("the value is another one"))
			}
			return errors.Join(err, v.Store(couple{}))
		}),
	"array": using(func() (*shm.Array[couple], error) { return shm.NewArray(make([]couple, 5)) },
		func(ctx context.Context, a *shm.Array[couple]) error {
			err := a.UpdateContext(ctx, func(xs []couple) error { xs[4].A = 7; return nil })
			if c, e := a.Load(4); c.A != 7 {
				err = errors.Join(err, e, errors.New("the value is another one"))
			}
			return err
		}),
	"queue": using(func() (*shm.Queue[int], error) { return shm.NewQueue[int](2) },
		func(ctx context.Context, q *shm.Queue[int]) error {
			recv := func(ctx context.Context) error { _, err := q.Recv(ctx); return err }
			return errors.Join(q.Send(ctx, 1), recv(ctx), inVain(ctx, recv), q.Done(), q.Join(ctx))
		}),
	"messages": using(func() (*shm.MessageQueue, error) { return shm.NewMessageQueue(256) },
		func(ctx context.Context, q *shm.MessageQueue) error {
			err := q.Send(ctx, []byte("x"))
			_, e := q.Recv(ctx, make([]byte, 8))
			return errors.Join(err, e)
		}),
	"objects": using(func() (*shm.ObjectQueue[[]string], error) { return shm.NewObjectQueue[[]string](512, "") },
		func(ctx context.Context, q *shm.ObjectQueue[[]string]) error {
			err := q.Send(ctx, []string{"some", "text"})
			_, e := q.Recv(ctx)
			return errors.Join(err, e)
		}),
	"notifier": using(func() (*shm.Queue[int], error) { return shm.NewQueue[int](2) },
		func(ctx context.Context, q *shm.Queue[int]) error {
			return using(q.Notify, func(ctx context.Context, n *shm.Notifier) error {
				readable := func(ctx context.Context) error { _, err := pipe.Select(ctx, n); return err }
				return errors.Join(inVain(ctx, readable), q.Send(ctx, 1), readable(ctx))
			})(ctx)
		}),
	"ring": func(ctx context.Context) error {
		w, r, err := shm.NewRing(1)
		if err != nil {
			return err
		}
		defer w.Close()
		defer r.Close()
		buf := make([]byte, 8)
		for range 1000 { // so often that it tries what it can
			if err := w.Send(ctx, buf); err != nil {
				return err
			}
			if _, err := r.Recv(ctx, buf); err != nil {
				return err
			}
		}
		return inVain(ctx, func(ctx context.Context) error { _, err := r.Recv(ctx, buf); return err })
	},
}
