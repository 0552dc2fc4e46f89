package fuzz_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/pool"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// processUses are processes and pools of them.
var processUses = map[string]use{
	"process": func(ctx context.Context) error { return run(ctx, &proc.Cmd{}) },
	"limits":  func(ctx context.Context) error { return run(ctx, &proc.Cmd{Limits: proc.Limits{Files: 64}}) },
	"cpus":    func(ctx context.Context) error { return run(ctx, &proc.Cmd{CPUs: []int{0}}) },
	"tree":    func(ctx context.Context) error { return run(ctx, &proc.Cmd{Tree: true}) },
	"function": using(func() (*shm.Value[int64], error) { return shm.NewValue[int64](7) },
		func(ctx context.Context, v *shm.Value[int64]) error {
			p, err := adding.Start(ctx, v)
			if err != nil {
				return err
			}
			if _, err = p.Wait(ctx); err == nil && v.Load() != 8 {
				err = fmt.Errorf("the child made 7 a %d, not 8", v.Load())
			}
			return err
		}),
	"terminate": func(ctx context.Context) error {
		p, err := obeying.Start(ctx, struct{}{})
		if err != nil {
			return err
		}
		err = inVain(ctx, func(ctx context.Context) error { _, err := p.Wait(ctx); return err })
		err = errors.Join(err, p.Terminate())
		_, e := p.Wait(ctx)
		return errors.Join(err, e)
	},
	"process's descriptor": func(ctx context.Context) error {
		p, err := obeying.Start(ctx, struct{}{})
		if err != nil {
			return err
		}
		err = p.Kill()
		if _, e := pipe.Select(ctx, p); e != nil {
			err = errors.Join(err, e)
		}
		p.Wait(ctx) // says that it was killed
		return errors.Join(err, p.Release())
	},
	"pool": using(func() (*pool.Pool, error) { return pool.New(&pool.Config{Workers: 1}) },
		func(ctx context.Context, p *pool.Pool) error {
			n, err := doubling.Call(ctx, p, 4)
			if err == nil && n != 8 {
				err = fmt.Errorf("the worker made 4 a %d, not 8", n)
			}
			var dead *pool.WorkerError
			if _, e := doubling.Call(ctx, p, -1); !errors.As(e, &dead) {
				err = errors.Join(err, fmt.Errorf("a call that kills its worker: %w", e))
			}
			return err
		}),
	"pidfd's signal": func(context.Context) error {
		f, err := proc.OpenPidFD(os.Getpid())
		if err != nil {
			return err
		}
		return errors.Join(f.Signal(0), f.Close())
	},
	"pidfd": func(ctx context.Context) error {
		f, err := proc.OpenPidFD(os.Getppid())
		if err != nil {
			return err
		}
		return f.Close()
	},
	"descriptor": func(ctx context.Context) error {
		f, err := proc.OpenPidFD(os.Getpid())
		if err != nil {
			return err
		}
		defer f.Close()
		g, err := f.GetFile(2)
		if err != nil {
			return err
		}
		return g.Close()
	},
}

var (
	adding = proc.Register("fuzz_test/adding", func(ctx context.Context, v *shm.Value[int64]) error {
		_, err := shm.Add(v, 1)
		return err
	})
	obeying = proc.Register("fuzz_test/obeying", func(ctx context.Context, _ struct{}) error {
		<-ctx.Done()
		return nil
	})
	doubling = pool.Register("fuzz_test/doubling", func(_ context.Context, n int) (int, error) {
		if n < 0 {
			os.Exit(n)
		}
		return 2 * n, nil
	})
)

func run(ctx context.Context, cmd *proc.Cmd) error {
	cmd.Path = "/bin/true"
	p, err := proc.Start(ctx, cmd)
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}
