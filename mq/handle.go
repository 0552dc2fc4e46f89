package mq

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// PassFiles lends the descriptor for a child process: the Queue stays open and
// the caller's. It makes a Queue a handle that can stand in the arguments of a
// child, which then needs no name.
func (q *Queue) PassFiles() ([]*os.File, error) {
	if err := q.ready(); err != nil {
		return nil, err
	}
	f, err := q.d.file()
	if err != nil {
		return nil, err
	}
	return []*os.File{f}, nil
}

// TakeFiles makes a zero Queue of the file that PassFiles gave, in the child. It
// takes ownership of the file unless it returns an error.
func (q *Queue) TakeFiles(files []*os.File) error {
	if q.d != nil {
		return fmt.Errorf("mq: TakeFiles on a Queue in use: %w", os.ErrInvalid)
	}
	if len(files) != 1 || files[0] == nil {
		return fmt.Errorf("mq: a Queue takes 1 file, not %d: %w", len(files), os.ErrInvalid)
	}
	rc, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	var dupErr error
	// A duplicate, since an os.File may set its descriptor to blocking.
	if rc.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) }) != nil {
		return os.ErrClosed
	}
	if dupErr != nil {
		return os.NewSyscallError("fcntl", dupErr)
	}
	if err := q.init(fd); err != nil {
		return err
	}
	files[0].Close()
	return nil
}

// GobEncode writes one byte: gob refuses types without exported fields, and what
// makes a Queue travels by PassFiles.
func (q *Queue) GobEncode() ([]byte, error) { return []byte{1}, nil }

// GobDecode accepts what GobEncode writes and changes nothing.
func (q *Queue) GobDecode(data []byte) error {
	if len(data) != 1 {
		return fmt.Errorf("mq: a Queue is 1 byte in gob, not %d: %w", len(data), os.ErrInvalid)
	}
	return nil
}
