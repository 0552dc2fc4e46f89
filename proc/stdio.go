package proc

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

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
			if fd, err = c.lend(f); err != nil {
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

// named is a file of Cmd.Files.
type named struct {
	name string
	fd   int // a duplicate
}

// extra returns duplicates of c.Files, sorted by name.
func (c *Cmd) extra() (files []named, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		if name == "" || name == envMark || strings.ContainsAny(name, "=\x00") {
			err = fmt.Errorf("field Files has a file called %q: want the name of an environment variable", name)
		}
		if err == nil && c.Files[name] == nil {
			err = fmt.Errorf("field Files[%q] is nil, want an open file: %w", name, os.ErrInvalid)
		}
		fd := -1
		if err == nil {
			if fd, err = c.lend(c.Files[name]); err != nil {
				err = fmt.Errorf("field Files[%q]: %w", name, err)
			}
		}
		if err != nil {
			for _, f := range files {
				unix.Close(f.fd)
			}
			return nil, err
		}
		files = append(files, named{name, fd})
	}
	return files, nil
}

// lend returns a duplicate of f for the child. Go's pipes and sockets are in
// non-blocking mode, which is the open file's, for all who have it: a program
// that does not know of that fails with EAGAIN.
func (c *Cmd) lend(f *os.File) (int, error) {
	fd, err := dupConn(f)
	if err != nil || c.Path == "" {
		return fd, err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		return fd, nil
	}
	own, err := openAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), flags&(unix.O_ACCMODE|unix.O_APPEND)|unix.O_NONBLOCK)
	if err == nil {
		unix.Close(fd)
		fd = own
	}
	unix.SetNonblock(fd, false)
	return fd, nil
}
