package shm

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Unlink removes a name; without one the error is ENOENT. The object itself
// stays for all who have it open or mapped, and goes with the last of them; the
// next Create under that name makes another one.
//
// What is not an object of this process's user is left alone: the error is
// [ErrOwner], for a symbolic link ELOOP, for anything else that is no object
// EINVAL; os.Remove can still remove it. Errors are *fs.PathError. Unlink may
// be called concurrently; it blocks as [Open] does.
func Unlink(name string) error {
	const op = "unlink"
	path, err := pathOf(op, name)
	if err != nil {
		return err
	}
	if err := unlink(path); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

func unlink(path string) error {
	for range renames {
		fd, st, err := openAt(path, unix.O_RDONLY)
		if errors.Is(err, unix.EACCES) {
			return unlinkUnseen(path)
		}
		if err != nil {
			return err
		}
		again := false
		if err = ownedHere(&st); err == nil {
			// Under the lock no Sweep is between its look at the name and
			// its unlink: it would remove the next object of the name. Who
			// never gives the lock back can't keep the name alive.
			lockShared(fd)
			if again = !leadsTo(path, &st); !again {
				err = unix.Unlink(path)
			}
		}
		unix.Close(fd)
		if !again {
			return err
		}
	}
	return errRenamed
}

// unlinkUnseen removes the name of an object that this process may not open.
func unlinkUnseen(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if err := regular(&st); err != nil {
		return err
	}
	if err := ownedHere(&st); err != nil {
		return err
	}
	return unix.Unlink(path)
}

func ownedHere(st *unix.Stat_t) error {
	if self := os.Geteuid(); int(st.Uid) != self {
		return notOurs("it belongs to user %d, this process is %d", st.Uid, self)
	}
	return nil
}
