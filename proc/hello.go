package proc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A hello is one write, which a pipe keeps whole up to this many bytes.
const maxHello = 4096

// past is a deadline that wakes a reader.
var past = time.Unix(1, 0)

// awaitHello waits until the child is about to call its function. r's deadline
// is set to helloTimeout, and to the past when the child has been reaped.
// A program's hello is that it is about to be loaded, and the end of the pipe.
func (p *Process) awaitHello(ctx context.Context, r *os.File, program bool) error {
	if ctx.Done() != nil {
		fired := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			r.SetReadDeadline(past)
			close(fired)
		})
		defer func() {
			if !stop() {
				<-fired // no deadline may come later
			}
		}()
	}
	buf := make([]byte, maxHello)
	read := func() (int, error) {
		n, err := r.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// Whatever ended the waiting, a hello that has come counts.
			n = readNow(r, buf)
		}
		return n, err
	}
	n, err := read()
	loading := program && n > 0 && buf[0] == helloExec
	if loading {
		if n = copy(buf, buf[1:n]); n == 0 {
			n, err = read()
		}
	}
	switch {
	case n > 0 && buf[0] == helloReady:
		return nil
	case loading && n == 0 && (err == io.EOF || !p.Alive()):
		return nil // it runs, or ended while it was loaded
	case n > 0 && buf[0] == helloErrno:
		errno, _ := binary.Uvarint(buf[1:n])
		return &os.PathError{Op: "exec", Path: p.path, Err: syscall.Errno(errno)}
	case n > 1 && buf[0] == helloError:
		return errors.New(string(buf[1:n]))
	case n > 0: // no child of ours
		return fmt.Errorf("malformed hello %q", buf[:min(n, 64)])
	case ctx.Err() != nil:
		return fmt.Errorf("process %d had not reached proc.Dispatch: %w", p.pid, ctx.Err())
	}
	if err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the hello of process %d: %w", p.pid, err)
	}
	if p.ended(err) {
		state, err := p.outcome()
		if state == nil || state.Signal() != 0 {
			return fmt.Errorf("before it reached proc.Dispatch: %w", err)
		}
		return fmt.Errorf("process %d ended (%v) without running the function: %w", p.pid, state, ErrNoDispatch)
	}
	return fmt.Errorf("process %d did not reach proc.Dispatch in %v: %w", p.pid, helloTimeout, ErrNoDispatch)
}

// ended reports whether the child is no more. If the pipe ended the child is
// about to: its descriptors go first.
func (p *Process) ended(read error) bool {
	if !p.Alive() {
		return true
	}
	if errors.Is(read, os.ErrDeadlineExceeded) {
		return false
	}
	t := time.NewTimer(helloTimeout)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C: // a program that closes descriptors which it does not know
		return false
	}
}

// readNow reads what is there.
func readNow(r *os.File, buf []byte) (n int) {
	r.SetReadDeadline(time.Time{})
	rc, err := r.SyscallConn()
	if err != nil {
		return 0
	}
	rc.Read(func(fd uintptr) bool {
		for {
			if n, err = unix.Read(int(fd), buf); err != unix.EINTR {
				return true
			}
		}
	})
	return max(n, 0)
}
