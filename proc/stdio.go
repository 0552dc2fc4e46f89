package proc

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// stdio returns duplicates of the child's first three descriptors. Duplicates
// above 2, even of our own: if ours are closed, their numbers may be anything.
func (c *Cmd) stdio() (fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	for i, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		var fd int
		switch {
		case f != nil:
			if fd, err = dupConn(f); err != nil {
				return fds, fmt.Errorf("%s: %w", [...]string{"Stdin", "Stdout", "Stderr"}[i], err)
			}
		case i > 0:
			if fd, err = dup(i); err == nil {
				break
			}
			fallthrough // it is closed here: the child shall not miss it
		default:
			if fd, err = devNull(); err != nil {
				return fds, err
			}
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func devNull() (int, error) {
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: os.DevNull, Err: err}
		}
		return fd, nil
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
