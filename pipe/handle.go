package pipe

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// PassFiles lends the descriptor for a child process: the Conn stays open and the
// caller's. It makes a Conn a handle that can stand in the arguments of a child.
//
// Errors: [os.ErrClosed]; [os.ErrInvalid] if this process has read ahead
// bytes that the child would miss, or has a frame half sent that the child
// would continue wrongly (see [Conn.Flush]).
func (c *Conn) PassFiles() ([]*os.File, error) {
	if err := c.passable(); err != nil {
		return nil, err
	}
	f, err := c.d.file()
	if err != nil {
		return nil, err
	}
	return []*os.File{f}, nil
}

// passable says whether another process could go on where this one is.
func (c *Conn) passable() error {
	if err := c.ready(true, ""); err != nil {
		return err
	}
	if n := c.unread.Load(); n > 0 {
		return fmt.Errorf("pipe: Conn can't be passed: %d bytes are buffered unread in this process: %w", n, os.ErrInvalid)
	}
	if n := c.unsent.Load(); n > 0 {
		return fmt.Errorf("pipe: Conn can't be passed: a frame is half sent, %d bytes are to go (Flush sends them): %w", n, os.ErrInvalid)
	}
	return nil
}

// File returns a duplicate of the descriptor, for calls and programs that this
// package doesn't know. It is the caller's to close; closing it or the Conn leaves
// the other open. Both are one open file: it doesn't block (O_NONBLOCK), and
// what is done to its flags is done to the Conn's. What goes through it passes
// by the frames.
//
// Errors: those of PassFiles, for the same reasons; EMFILE if the process has no
// descriptors left.
func (c *Conn) File() (*os.File, error) {
	if err := c.passable(); err != nil {
		return nil, err
	}
	fd := -1
	var err error
	// From 3 up, so that it can't become a standard stream.
	if c.d.control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) }) != nil {
		return nil, os.ErrClosed
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "pipe"), nil
}

// TakeFiles makes a zero Conn of the file that PassFiles gave, in the child. It
// takes ownership of the file unless it returns an error. Which kind of Conn
// it is, the descriptor tells.
func (c *Conn) TakeFiles(files []*os.File) error {
	if c.d != nil {
		return fmt.Errorf("pipe: TakeFiles on a Conn in use: %w", os.ErrInvalid)
	}
	if len(files) != 1 {
		return fmt.Errorf("pipe: a Conn takes 1 file, not %d: %w", len(files), os.ErrInvalid)
	}
	return c.take(files[0])
}

// GobEncode writes one byte: gob refuses types without exported fields, and what
// makes a Conn travels by PassFiles.
func (c *Conn) GobEncode() ([]byte, error) { return []byte{1}, nil }

// GobDecode accepts what GobEncode writes and changes nothing.
func (c *Conn) GobDecode(data []byte) error {
	if len(data) != 1 {
		return fmt.Errorf("pipe: a Conn is 1 byte in gob, not %d: %w", len(data), os.ErrInvalid)
	}
	return nil
}
