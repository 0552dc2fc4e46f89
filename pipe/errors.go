package pipe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ErrShortBuffer says that the next message doesn't fit into the buffer. The
// message stays and a larger buffer gets it. The error is a
// [*ShortBufferError], which has the size.
var ErrShortBuffer = io.ErrShortBuffer

// ErrTooLarge says that a message is above what the receiver accepts. The Conn
// has been closed: what follows can't be told from the message itself.
var ErrTooLarge = errors.New("pipe: message too large")

// A ShortBufferError is an [ErrShortBuffer] with its figures, in bytes.
type ShortBufferError struct {
	Size   int // of the message, or of what is left of it after a Read
	Buffer int // of the buffer that Recv was given
}

// Error names the message's size.
func (e *ShortBufferError) Error() string {
	return fmt.Sprintf("pipe: message of %d bytes, buffer of %d", e.Size, e.Buffer)
}

// Unwrap returns [ErrShortBuffer].
func (e *ShortBufferError) Unwrap() error { return ErrShortBuffer }

// A PartialError says that a Send or Write was ended when a part of its frame
// had left. The Conn holds the rest and the next Send, Write or Flush sends it
// first: the message counts as sent and must not be sent again.
type PartialError struct {
	Unsent int   // bytes that the Conn holds
	Err    error // why the wait ended: ctx.Err() or os.ErrDeadlineExceeded
}

// Error says how much was sent, and why no more.
func (e *PartialError) Error() string {
	return fmt.Sprintf("pipe: %d bytes of a frame wait for the next Send: %v", e.Unsent, e.Err)
}

// Unwrap returns e.Err.
func (e *PartialError) Unwrap() error { return e.Err }

// Timeout and Temporary make it a [net.Error], as a net.Conn's deadline is.
func (e *PartialError) Timeout() bool { return os.IsTimeout(e.Err) }

// Temporary reports whether trying again can help.
func (e *PartialError) Temporary() bool { return true }

// errZero is what the methods of a Conn say that is no end of anything, and
// errNoListener those of such a Listener.
var (
	errZero       = fmt.Errorf("pipe: a zero Conn, which nothing has opened: %w", os.ErrInvalid)
	errNoListener = fmt.Errorf("pipe: a zero Listener, which nothing has opened: %w", os.ErrInvalid)
)

// A wrongEnd is the error of a call for the other direction. As nothing is called
// to make one, Conn.ready is inlined.
type wrongEnd struct {
	op       string
	receives bool
}

func (e wrongEnd) Error() string {
	only := "sends"
	if e.receives {
		only = "receives"
	}
	return fmt.Sprintf("pipe: this end only %s: %v", only, e.Unwrap())
}

func (e wrongEnd) Unwrap() error { return os.NewSyscallError(e.op, syscall.EBADF) }

func tooLarge(size uint64, max int) error {
	return fmt.Errorf("%w: %d bytes, at most %d accepted", ErrTooLarge, size, max)
}

// endOfStream is what a receiver gets when the peer is gone. With mid, a frame
// or its prefix had begun.
func endOfStream(mid bool, cause error) error {
	switch {
	case !mid && cause == nil:
		return io.EOF
	case !mid:
		return cause
	case cause == nil:
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, cause)
}

// isGone tells the errno of a peer that is gone, which in mid-frame is an
// unexpected end, from that of anything else.
func isGone(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
