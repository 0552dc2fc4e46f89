package pipe_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"

	"golang.org/x/sys/unix"
)

// What each call says of a Conn or Listener that is closed, or was never made,
// and of a context that is over.
func TestMisused(t *testing.T) {
	closed, peer, err := pipe.Pair()
	must(t, err)
	closeAfter(t, peer)
	must(t, closed.Close())
	l, err := pipe.Listen("unix", filepath.Join(t.TempDir(), "s"))
	must(t, err)
	defer l.Close()
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, pipe.Mkfifo(fifo, 0o600))
	both, err := pipe.OpenFIFO(bg, fifo, os.O_RDWR)
	must(t, err)
	closeAfter(t, both)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var none pipe.Listener
	buf := make([]byte, 8)
	file, err := os.Open(os.DevNull)
	must(t, err)
	must(t, file.Close())
	for _, c := range []struct {
		what string
		want error
		call func() error
	}{
		{"Send", os.ErrClosed, func() error { return closed.Send(bg, buf) }},
		{"SendFiles", os.ErrClosed, func() error { return closed.SendFiles(bg, buf) }},
		{"Flush", os.ErrClosed, func() error { return closed.Flush(bg) }},
		{"Write", os.ErrClosed, func() error { _, err := closed.Write(buf); return err }},
		{"Recv", os.ErrClosed, func() error { _, err := closed.Recv(bg, buf); return err }},
		{"RecvAlloc", os.ErrClosed, func() error { _, err := closed.RecvAlloc(bg, 8); return err }},
		{"RecvFiles", os.ErrClosed, func() error { _, _, err := closed.RecvFiles(bg, buf, 1); return err }},
		{"Read", os.ErrClosed, func() error { _, err := closed.Read(buf); return err }},
		{"Poll", os.ErrClosed, func() error { _, err := closed.Poll(bg); return err }},
		{"CloseWrite", os.ErrClosed, closed.CloseWrite},
		{"Peer", os.ErrClosed, func() error { _, err := closed.Peer(); return err }},
		{"PeerFile", os.ErrClosed, func() error { _, err := closed.PeerFile(); return err }},
		{"File", os.ErrClosed, func() error { _, err := closed.File(); return err }},
		{"PassFiles", os.ErrClosed, func() error { _, err := closed.PassFiles(); return err }},
		{"SetDeadline", os.ErrClosed, func() error { return closed.SetDeadline(time.Now()) }},
		{"SetReadDeadline", os.ErrClosed, func() error { return closed.SetReadDeadline(time.Now()) }},
		{"SetWriteDeadline", os.ErrClosed, func() error { return closed.SetWriteDeadline(time.Now()) }},
		{"Select", os.ErrClosed, func() error { _, err := pipe.Select(bg, closed); return err }},
		{"Splice from", os.ErrClosed, func() error { _, err := pipe.Splice(bg, w, closed, 1); return err }},
		{"Splice to", os.ErrClosed, func() error { _, err := pipe.Splice(bg, closed, r, 1); return err }},
		{"SetSize", os.ErrClosed, func() error { _, err := pipe.SetSize(closed, 4096); return err }},
		{"TakeFiles of a closed file", os.ErrClosed, func() error { return new(pipe.Conn).TakeFiles([]*os.File{file}) }},

		{"SetSize of a socket", unix.EBADF, func() error { _, err := pipe.SetSize(peer, 4096); return err }},
		{"CloseWrite of a reading end", unix.EBADF, r.CloseWrite},
		{"CloseWrite of both ends of a FIFO", unix.ENOTSUP, both.CloseWrite},
		{"RecvAlloc of less than nothing", os.ErrInvalid, func() error { _, err := r.RecvAlloc(bg, -1); return err }},

		{"AcceptConn of no listener", os.ErrInvalid, func() error { _, err := none.AcceptConn(bg); return err }},
		{"SetDeadline of no listener", os.ErrInvalid, func() error { return none.SetDeadline(time.Now()) }},
		{"SyscallConn of no listener", os.ErrInvalid, func() error { _, err := none.SyscallConn(); return err }},
		{"Close of no listener", os.ErrInvalid, none.Close},

		{"AcceptConn", context.Canceled, func() error { _, err := l.AcceptConn(over); return err }},
		{"Dial", context.Canceled, func() error { _, err := pipe.Dial(over, "unix", "@nobody"); return err }},
		{"OpenFIFO", context.Canceled, func() error { _, err := pipe.OpenFIFO(over, "nothing", os.O_RDONLY); return err }},
		{"Send", context.Canceled, func() error { return w.Send(over, buf) }},
		{"Flush", context.Canceled, func() error { return w.Flush(over) }},
		{"Recv", context.Canceled, func() error { _, err := r.Recv(over, buf); return err }},
		{"Poll", context.Canceled, func() error { _, err := r.Poll(over); return err }},
		{"Select", context.Canceled, func() error { _, err := pipe.Select(over, r); return err }},
		{"Splice", context.Canceled, func() error { _, err := pipe.Splice(over, w, r, 1); return err }},
		{"Tee", context.Canceled, func() error { _, err := pipe.Tee(over, w, r, 1); return err }},
	} {
		within(t, c.what, func() { wantErr(t, c.what, c.call(), c.want) })
	}
	says(t, new(pipe.Conn).Send(bg, nil), "pipe: a zero Conn, which nothing has opened")
	says(t, none.Close(), "pipe: a zero Listener, which nothing has opened")
	// None of that has used anything up.
	must(t, w.Send(bg, []byte("still")))
	n, err := r.Recv(bg, buf)
	if must(t, err); string(buf[:n]) != "still" {
		t.Errorf("got %q", buf[:n])
	}
	must(t, w.Close())
	if _, err := r.Recv(bg, buf); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// A wait for the other direction's turn ends with its context, too.
func TestTurnCancelled(t *testing.T) {
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	first, cancelFirst := context.WithCancel(bg)
	done := make(chan error, 1)
	go func() { _, err := r.Recv(first, make([]byte, 8)); done <- err }()
	blocked()
	for what, call := range map[string]func(context.Context) error{
		"Poll": func(ctx context.Context) error { _, err := r.Poll(ctx); return err },
		"Recv": func(ctx context.Context) error { _, err := r.Recv(ctx, make([]byte, 8)); return err },
	} {
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		within(t, what, func() { wantErr(t, what, call(ctx), context.DeadlineExceeded) })
		cancel()
	}
	cancelFirst()
	wantErr(t, "the first", <-done, context.Canceled)
}

// Sockets that carry no messages of ours, and a frame that waits where Splice
// would go in between.
func TestNotForIt(t *testing.T) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	must(t, err)
	raw := os.NewFile(uintptr(fd), "netlink")
	defer raw.Close()
	c, err := pipe.FromFile(raw)
	wantErr(t, "a raw socket", err, os.ErrInvalid)
	if c != nil {
		t.Error("a Conn of a raw socket")
	}

	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	brief, cancel := context.WithCancel(bg)
	go func() {
		r.Poll(bg)
		cancel()
	}()
	part := (*pipe.PartialError)(nil)
	if err := w.Send(brief, make([]byte, 1<<20)); !errors.As(err, &part) || part.Unsent == 0 {
		t.Fatalf("a frame that does not fit: %v", err)
	}
	from, into, err := os.Pipe()
	must(t, err)
	defer from.Close()
	defer into.Close()
	_, err = into.WriteString("between")
	must(t, err)
	_, err = pipe.Splice(bg, w, from, 7)
	wantErr(t, "Splice into a frame", err, os.ErrInvalid)
}

// Who asks for the descriptor itself may wait for it, and the Conn goes on as
// before; closed, it says so.
func TestSyscallConnWaits(t *testing.T) {
	a, b, err := pipe.Pair()
	must(t, err)
	closeAfter(t, b)
	rc, err := a.SyscallConn()
	must(t, err)
	must(t, rc.Write(func(uintptr) bool { return true }))
	var looks atomic.Int32
	done := make(chan error, 1)
	go func() {
		done <- rc.Read(func(fd uintptr) bool {
			looks.Add(1)
			n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return n == 1 && err == nil
		})
	}()
	within(t, "the first look", func() {
		for looks.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	blocked()
	must(t, b.Send(bg, []byte("x")))
	within(t, "Read", func() { must(t, <-done) })
	if looks := looks.Load(); looks != 2 {
		t.Errorf("%d looks, want 2: before and after the message", looks)
	}
	buf := make([]byte, 8)
	for range 2 {
		n, err := a.Recv(bg, buf)
		if must(t, err); string(buf[:n]) != "x" {
			t.Errorf("got %q", buf[:n])
		}
		go b.Send(bg, []byte("x"))
	}
	soon, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	if _, err = a.Recv(soon, buf); err == nil {
		_, err = a.Recv(soon, buf)
	}
	wantErr(t, "Recv", err, context.DeadlineExceeded)
	must(t, a.Close())
	for what, call := range map[string]func(func(uintptr) bool) error{"Read": rc.Read, "Write": rc.Write} {
		within(t, what, func() { wantErr(t, what, call(func(uintptr) bool { return true }), os.ErrClosed) })
	}
	wantErr(t, "Control", rc.Control(func(uintptr) {}), os.ErrClosed)
}
