package pipe

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to a [Listener] of this machine, ours or another program's; see
// [Listen] for the network and the name. It blocks while the listener's queue
// is full. The kernel has no event for a place in that queue, so Dial tries
// again after 1 to 50 ms; ctx ends it at once.
//
// Errors: ctx.Err(); [*os.PathError], with [os.ErrNotExist] if there is no such
// name and ECONNREFUSED if nobody listens there. A Listener that doesn't let this
// process in closes the Conn.
func Dial(ctx context.Context, network, name string) (*Conn, error) {
	mustHave(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := dial(ctx, network, name)
	if err == nil || ctx.Err() != nil && err == ctx.Err() {
		return c, err
	}
	return nil, &os.PathError{Op: "dial", Path: name, Err: err}
}

func dial(ctx context.Context, network, name string) (*Conn, error) {
	fd, err := localSocket(network, name)
	if err != nil {
		return nil, err
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err {
		case nil:
			c := new(Conn)
			if err := c.init(fd); err != nil {
				return nil, err
			}
			return c, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			unix.Close(fd)
			return nil, os.NewSyscallError("connect", err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			unix.Close(fd)
			return nil, ctx.Err()
		}
	}
}
