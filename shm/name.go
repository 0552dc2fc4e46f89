package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dir is where named objects are, here as in C's library. It is a constant:
// nothing in the environment leads elsewhere.
const dir = "/dev/shm"

// pathOf is the path of a name: up to 255 bytes, one leading slash optional,
// no other, and not a directory's.
func pathOf(op, name string) (string, error) {
	base := strings.TrimPrefix(name, "/")
	err := misnamed("name", base)
	switch {
	case err != nil:
	case base == "." || base == "..":
		err = fmt.Errorf("%q is a directory, not a name: %w", base, unix.EINVAL)
	case len(base) > unix.NAME_MAX:
		err = fmt.Errorf("a name of %d bytes, want %d or less: %w", len(base), unix.NAME_MAX, unix.ENAMETOOLONG)
	default:
		return dir + "/" + base, nil
	}
	return "", &fs.PathError{Op: op, Path: name, Err: err}
}

// misnamed refuses what no name, or beginning of one, can be.
func misnamed(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the %s is empty: %w", what, unix.EINVAL)
	case strings.Contains(s, "/"):
		return fmt.Errorf("the %s %q has a slash, want none but one before it: %w", what, s, unix.EINVAL)
	case strings.Contains(s, "\x00"):
		return fmt.Errorf("the %s %q has a zero byte: %w", what, s, unix.EINVAL)
	}
	return nil
}

// openFlags never follow a link, and never wait for the other end of a FIFO
// that somebody planted.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY

// openAt opens what a path leads to, unless it is no object: then the error
// says what it is. The descriptor is judged, never the path.
func openAt(path string, flags int) (fd int, st unix.Stat_t, err error) {
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Open(path, openFlags|flags, 0)
		return err
	})
	if err != nil {
		return -1, st, fmt.Errorf("%s%w", standing(path), err)
	}
	if err = unix.Fstat(fd, &st); err == nil {
		err = regular(&st)
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

func regular(st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s: %w", kindOf(st), unix.EINVAL)
	}
	return nil
}

// standing says what is at a path that can't be opened, where that is no
// object: the errno alone is a riddle. It is only for the message.
func standing(path string) string {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFREG {
		return ""
	}
	return kindOf(&st) + ": "
}

func kindOf(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFREG:
		return "a file"
	}
	return "a device"
}

// trusted says whether an object may be used by this process: whose it is, by
// how many names it is known, whom it lets in.
func trusted(st *unix.Stat_t, attr *Attr) error {
	self := os.Geteuid()
	switch {
	case int(st.Uid) != self && !slices.Contains(attr.Owners, int(st.Uid)):
		return notOurs("it belongs to user %d, this process is %d", st.Uid, self)
	case st.Nlink > 1:
		return notOurs("it has %d names", st.Nlink)
	case attr.Mode != 0 && fs.FileMode(st.Mode&0o777)&^attr.Mode != 0:
		return notOurs("its mode is %#o, want %#o at most", st.Mode&0o777, uint32(attr.Mode))
	}
	return nil
}

func notOurs(format string, a ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrOwner, fmt.Sprintf(format, a...), unix.EPERM)
}

// leadsTo says whether the path still has the file that was opened by it.
func leadsTo(path string, st *unix.Stat_t) bool {
	var now unix.Stat_t
	return unix.Lstat(path, &now) == nil && now.Dev == st.Dev && now.Ino == st.Ino
}

// Every Object of a name holds flock(LOCK_SH) on its file for as long as it or a
// mapping is open; the kernel drops it at death. LOCK_EX is Sweep's, and that of
// a Create which takes over, for some microseconds. Who gets either looks again
// whether the name still leads to that file: it may have gone in between.

// lockPatience is how long somebody else's LOCK_EX is waited for. It is longer than
// any of ours lasts, and bounds what a stranger can do who never gives it back.
const lockPatience = 250 * time.Millisecond

func lockShared(fd int) error {
	start := time.Now()
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		err := lock(fd, unix.LOCK_SH)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Since(start) > lockPatience {
			return fmt.Errorf("somebody keeps an exclusive lock on it: %w", unix.EBUSY)
		}
		time.Sleep(wait)
	}
}

func lock(fd, how int) error {
	return ignoringEINTR(func() error { return unix.Flock(fd, how|unix.LOCK_NB) })
}
