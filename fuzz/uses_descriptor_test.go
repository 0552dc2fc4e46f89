package fuzz_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/pipe"
)

// descriptorUses are pipes, sockets, and the kernel's queues.
var descriptorUses = map[string]use{
	"pipe": connected(func() (a, b *pipe.Conn, err error) { b, a, err = pipe.OneWay(); return },
		func(ctx context.Context, w, r *pipe.Conn) error {
			sent := make(chan error, 1)
			go func() { sent <- w.Send(ctx, make([]byte, 200_000)) }()
			_, err := r.RecvAlloc(ctx, 1<<20)
			return errors.Join(err, <-sent)
		}),
	"pair": connected(pipe.Pair, exchange),
	"packets": connected(pipe.PacketPair, func(ctx context.Context, a, b *pipe.Conn) error {
		return errors.Join(exchange(ctx, a, b), exchange(ctx, b, a))
	}),
	"files": connected(pipe.Pair, func(ctx context.Context, a, b *pipe.Conn) error {
		if err := a.SendFiles(ctx, []byte("x"), os.Stderr); err != nil {
			return err
		}
		_, files, err := b.RecvFiles(ctx, make([]byte, 8), 1)
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
		return err
	}),
	"peer": connected(pipe.Pair, func(_ context.Context, a, _ *pipe.Conn) error {
		p, err := a.Peer()
		if err == nil && p.Pid != os.Getpid() {
			err = fmt.Errorf("the peer is %d", p.Pid)
		}
		return err
	}),
	"peer's pidfd": connected(pipe.Pair, func(_ context.Context, a, _ *pipe.Conn) error {
		f, err := a.PeerFile()
		if err != nil {
			return err
		}
		return f.Close()
	}),
	"select": connected(pipe.Pair, func(ctx context.Context, a, b *pipe.Conn) error {
		either := func(ctx context.Context) error { _, err := pipe.Select(ctx, a, b); return err }
		return errors.Join(inVain(ctx, either), a.Send(ctx, nil), either(ctx))
	}),
	"listen": using(func() (*pipe.Listener, error) { return pipe.Listen("unix", "@"+useName()) },
		func(ctx context.Context, l *pipe.Listener) error {
			return connected(func() (a, b *pipe.Conn, err error) {
				if a, err = pipe.Dial(ctx, "unix", "@"+useName()); err != nil {
					return nil, nil, err
				}
				b, err = l.AcceptConn(ctx)
				return a, b, err
			}, exchange)(ctx)
		}),
	"fifo": fifo(func(ctx context.Context, name string) error {
		return connected(func() (a, b *pipe.Conn, err error) {
			if b, err = pipe.OpenFIFO(ctx, name, os.O_RDONLY); err != nil {
				return nil, nil, err
			}
			a, err = pipe.OpenFIFO(ctx, name, os.O_WRONLY)
			return a, b, err
		}, exchange)(ctx)
	}),
	"fifo's reader": fifo(func(ctx context.Context, name string) error {
		// It has to come to the wait, though others want the CPU too.
		return inVainFor(ctx, 100*time.Millisecond, func(ctx context.Context) error {
			_, err := pipe.OpenFIFO(ctx, name, os.O_WRONLY)
			return err
		})
	}),
	"splice": func(ctx context.Context) error { return between(ctx, pipe.Splice) },
	"tee":    func(ctx context.Context) error { return between(ctx, pipe.Tee) },
	"mq": using(useQueue, func(ctx context.Context, q *mq.Queue) error {
		recv := func(ctx context.Context) error { _, _, err := q.Recv(ctx, make([]byte, 8)); return err }
		return errors.Join(q.Send(ctx, []byte("x"), 1), recv(ctx), inVain(ctx, recv))
	}),
	"notify": using(useQueue, func(ctx context.Context, q *mq.Queue) error { return inVainFor(ctx, 100*time.Millisecond, q.Notify) }),
}

// connected makes two ends, uses them and closes them.
func connected(make func() (a, b *pipe.Conn, err error), do func(ctx context.Context, a, b *pipe.Conn) error) use {
	return func(ctx context.Context) error {
		a, b, err := make()
		if err != nil {
			if a != nil {
				a.Close()
			}
			if b != nil {
				b.Close()
			}
			return err
		}
		return errors.Join(do(ctx, a, b), a.Close(), b.Close())
	}
}

// exchange sends a message from a to b, and waits for another one in vain.
func exchange(ctx context.Context, a, b *pipe.Conn) error {
	recv := func(ctx context.Context) error { _, err := b.Recv(ctx, make([]byte, 8)); return err }
	return errors.Join(a.Send(ctx, []byte("x")), recv(ctx), inVain(ctx, recv))
}

func fifo(do func(ctx context.Context, name string) error) use {
	return func(ctx context.Context) error {
		dir, err := os.MkdirTemp("", useName())
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		name := filepath.Join(dir, "fifo")
		if err := pipe.Mkfifo(name, 0o600); err != nil {
			return err
		}
		return do(ctx, name)
	}
}

func between(ctx context.Context, move func(ctx context.Context, dst, src syscall.Conn, n int64) (int64, error)) error {
	r1, w1, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r1.Close()
	defer w1.Close()
	r2, w2, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r2.Close()
	defer w2.Close()
	if _, err := w1.WriteString("x"); err != nil {
		return err
	}
	_, err = move(ctx, w2, r1, 1)
	return err
}

func useQueue() (*mq.Queue, error) {
	q, err := mq.Create("/"+useName(), &mq.Attr{MaxMessages: 1, MessageSize: 8})
	if err == nil {
		err = mq.Unlink("/" + useName())
	}
	return q, err
}
