package shm

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep removes the names that begin with prefix of objects which no living
// process has open, as after all their users were killed, and returns them. A
// program with a prefix of its own may call it whenever it starts.
//
// Only objects that this package created, for this process's user, are ever
// removed. Users are known by a lock that each [Object] and [Mapping] of a name
// holds and that the kernel drops at death. C and Python hold no such lock:
// where they use objects that Go creates, don't sweep those.
//
// Sweep does not block. It goes on after a name that can't be removed and
// returns what went wrong at the end. It may be called concurrently, by any
// number of processes, and beside all other calls.
func Sweep(prefix string) (removed []string, err error) {
	prefix = strings.TrimPrefix(prefix, "/")
	if err := misnamed("prefix", prefix); err != nil {
		return nil, &fs.PathError{Op: "sweep", Path: prefix, Err: err}
	}
	return sweepAll(prefix, marked)
}

// sweepAll is Sweep of the names that ours approves.
func sweepAll(prefix string, ours func(fd int, st *unix.Stat_t) bool) (removed []string, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		path := dir + "/" + name
		if ok, e := sweep(path, ours); e != nil {
			err = errors.Join(err, &fs.PathError{Op: "sweep", Path: path, Err: e})
		} else if ok {
			removed = append(removed, name)
		}
	}
	return removed, err
}

// sweep removes one name if it may. Who opened the object at the same time, and
// waits for the lock, looks at the name again and finds it gone.
func sweep(path string, ours func(fd int, st *unix.Stat_t) bool) (bool, error) {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || regular(&st) != nil || int(st.Uid) != os.Geteuid() {
		return false, nil // not even opened: that could wake somebody
	}
	fd, st, err := openAt(path, unix.O_RDONLY)
	if err != nil {
		return false, nil // gone, or none of ours
	}
	defer unix.Close(fd)
	if int(st.Uid) != os.Geteuid() || st.Nlink != 1 || !ours(fd, &st) {
		return false, nil
	}
	if err := lock(fd, unix.LOCK_EX); err != nil {
		return false, nil // in use
	}
	if !leadsTo(path, &st) {
		return false, nil
	}
	// The lock keeps Unlink out, so that the name can't go to another object here.
	if err := unix.Unlink(path); err != nil {
		return false, err
	}
	return true, nil
}
