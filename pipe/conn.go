package pipe

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Conn sends and receives messages over one descriptor. It is also a
// [net.Conn]. Any number of goroutines may call its methods at once: senders
// take turns, and so do receivers, each with a whole message.
//
// The zero Conn is of no use but to [Conn.TakeFiles]; its other methods fail with
// [os.ErrInvalid]. A Conn must not be copied.
type Conn struct {
	d    *descriptor // nil in a zero Conn
	mode mode

	// What this process holds of the stream, for PassFiles: bytes read ahead or
	// the rest of a frame that some Read began; bytes of a half-sent frame.
	unread, unsent atomic.Int64

	in  receiver
	out sender
}

var (
	_ net.Conn     = (*Conn)(nil)
	_ syscall.Conn = (*Conn)(nil)
)

// Send sends one message; it may be empty. It blocks until the kernel has
// taken the message, which for a stream is not until a reader has made room.
//
// A context that has ended sends nothing and gives ctx.Err(). If it ends when
// part of the frame has left, the error is a [*PartialError]: the Conn keeps a
// copy of the rest, the next Send, Write or Flush finishes it first, so the
// message is sent and whole. msg may be changed once Send has returned.
//
// Errors: ctx.Err(); [os.ErrDeadlineExceeded]; [os.ErrClosed]; EPIPE if nobody
// can read any more (the process gets no SIGPIPE); EMSGSIZE for a packet
// larger than the kernel takes; EBADF on a receiving end. Any number of
// goroutines may call it at once.
func (c *Conn) Send(ctx context.Context, msg []byte) error {
	if err := c.ready(c.mode.write, "write"); err != nil {
		return err
	}
	_, err := c.out.send(ctx, c, msg, nil)
	return err
}

// Flush finishes a frame that a cancelled Send left half sent; with none it
// does nothing. It blocks, ends with ctx and fails as Send does.
func (c *Conn) Flush(ctx context.Context) error {
	if err := c.ready(c.mode.write, "write"); err != nil {
		return err
	}
	return c.out.flush(ctx, c)
}

// Recv receives one message into buf and returns its size in bytes. It blocks
// until a whole message is there. Of buf, bytes beyond the message may be
// overwritten.
//
// A context that has ended gives ctx.Err() even if a message waits. If it ends
// in mid-frame, what has arrived stays in the Conn for the next call.
//
// Errors: [io.EOF] after the last message of a peer that closed, and
// [io.ErrUnexpectedEOF] if it closed or died in mid-frame; ECONNRESET if it
// closed without having read all that was sent to it; [ErrShortBuffer] with the
// size if buf is too small (the message stays); [ErrTooLarge] for a length
// that no memory can hold; ctx.Err(); [os.ErrDeadlineExceeded]; [os.ErrClosed].
// Any number of goroutines may call it at once.
//
// Descriptors that a peer attached to the message are closed; [Conn.RecvFiles]
// gets them.
func (c *Conn) Recv(ctx context.Context, buf []byte) (int, error) {
	if err := c.begin(ctx); err != nil {
		return 0, err
	}
	defer c.endRecv()
	return c.in.recv(ctx, buf)
}

// RecvAlloc is [Conn.Recv] into new memory, for messages of at most max bytes: it
// blocks until there is one, the peer has closed, or ctx ends.
// Memory grows with the bytes that have arrived, so a peer that only announces
// a large message costs nothing. A message above max gives [ErrTooLarge] and
// closes the Conn.
func (c *Conn) RecvAlloc(ctx context.Context, max int) ([]byte, error) {
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	defer c.endRecv()
	return c.in.recvAlloc(ctx, max)
}

// Poll waits until a Recv would find something: the start of a message, the end
// of the stream, or an error of the descriptor. It reports true then, and
// (false, ctx.Err()) if ctx ends first. A context that has already ended makes
// it a look that doesn't wait. It takes its turn among the receivers.
func (c *Conn) Poll(ctx context.Context) (bool, error) {
	mustHave(ctx)
	if err := c.ready(c.mode.read, "read"); err != nil {
		return false, err
	}
	if err := c.enterRecv(ctx); err != nil {
		return false, err
	}
	defer c.endRecv()
	return c.in.poll(ctx)
}

// Read reads the messages as a stream of bytes: up to len(p) bytes of the
// current message, and never beyond its end, so a decoder can't swallow what a
// later Recv is for. Empty messages are skipped. It blocks until there is a
// byte; it is ended by SetReadDeadline and Close. Errors are those of
// [Conn.Recv].
func (c *Conn) Read(p []byte) (int, error) {
	ctx := context.Background()
	if err := c.begin(ctx); err != nil {
		return 0, err
	}
	defer c.endRecv()
	return c.in.read(ctx, p)
}

// Write sends p as one message, as [Conn.Send] does without a context. After a
// [*PartialError] it returns len(p), since the Conn has taken over all of p.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.ready(c.mode.write, "write"); err != nil {
		return 0, err
	}
	return c.out.send(context.Background(), c, p, nil)
}

// ready says whether the Conn can be used in a direction.
func (c *Conn) ready(can bool, op string) error {
	switch {
	case c.d == nil:
		return errZero
	case c.d.closed():
		return os.ErrClosed
	case !can:
		return wrongEnd{op, c.mode.read}
	}
	return nil
}

// mustHave panics for a nil context, before anything is taken or made for it.
func mustHave(ctx context.Context) {
	if ctx == nil {
		panic("pipe: nil context")
	}
}

// begin makes the caller the one that receives.
func (c *Conn) begin(ctx context.Context) error {
	mustHave(ctx)
	if err := c.ready(c.mode.read, "read"); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.enterRecv(ctx)
}

// enterRecv waits for the turn to receive.
func (c *Conn) enterRecv(ctx context.Context) error {
	err := c.in.enter(ctx)
	if err == nil {
		if !c.in.lost {
			return nil
		}
		c.in.leave() // whoever has lost it is about to close it
		err = os.ErrClosed
	}
	if c.d.closed() { // Close may have met this call in the turn
		c.dropFiles()
	}
	return err
}

func (c *Conn) endRecv() {
	if n := c.in.held(); n != c.unread.Load() {
		c.unread.Store(n)
	}
	lost := c.in.lost
	c.in.leave()
	if lost {
		c.Close()
	}
	if c.d.closed() {
		c.dropFiles()
	}
}

// dropFiles closes what a closed Conn holds. Whoever is receiving will do it
// when it has done.
func (c *Conn) dropFiles() {
	if c.in.tryEnter() {
		c.in.dropAll()
		c.in.leave()
	}
}

// SetDeadline sets the time at which every Send, Recv, Read, Write and Poll,
// now or later, ends with [os.ErrDeadlineExceeded]; the zero time means never.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline is [Conn.SetDeadline] for receiving.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if err := c.ready(true, ""); err != nil {
		return err
	}
	return c.in.setUser(t)
}

// SetWriteDeadline is [Conn.SetDeadline] for sending.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if err := c.ready(true, ""); err != nil {
		return err
	}
	return c.out.setUser(t)
}

// SyscallConn gives access to the descriptor. Reading or writing through it
// passes by the frames and by what the Conn has read ahead; the Conn's deadlines
// don't end it.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if err := c.ready(true, ""); err != nil {
		return nil, err
	}
	return rawConn{c.d}, nil
}

// CloseWrite ends the sending direction: the peer gets [io.EOF] once it has read
// what was sent. A sending end of a pipe or FIFO is thereby closed. On a FIFO
// opened for both directions it is not possible (ENOTSUP).
func (c *Conn) CloseWrite() error {
	if err := c.ready(c.mode.write, "shutdown"); err != nil {
		return err
	}
	if !c.mode.socket {
		if c.mode.read {
			return os.NewSyscallError("shutdown", unix.ENOTSUP)
		}
		return c.Close()
	}
	var err error
	if cerr := c.d.control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) }); cerr != nil {
		return os.ErrClosed
	}
	return os.NewSyscallError("shutdown", err)
}

// Close closes the Conn. Calls that are blocked in it return [os.ErrClosed], and
// so does every later call, also a second Close.
func (c *Conn) Close() error {
	if c.d == nil {
		return errZero
	}
	err := c.d.close(&c.in.line, &c.out.line)
	c.dropFiles()
	return err
}
