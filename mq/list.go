package mq

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	mountedAt = "/dev/mqueue"
	fileMagic = 0x19800202 // MQUEUE_MAGIC
)

// List returns the names of all queues, sorted. It doesn't block.
//
// The names are in a file system which must be mounted at /dev/mqueue, as most
// systems have it; else the error, a [*os.PathError] that is
// [os.ErrNotExist], says how to do that. The mount belongs to the IPC namespace
// in which it was made: a process in a namespace of its own needs its own.
func List() ([]string, error) {
	d, err := os.Open(mountedAt)
	if errors.Is(err, os.ErrNotExist) {
		return nil, notMounted()
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var st unix.Statfs_t
	for {
		err = unix.Fstatfs(int(d.Fd()), &st)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, &os.PathError{Op: "statfs", Path: mountedAt, Err: err}
	}
	if int64(st.Type) != fileMagic {
		return nil, notMounted() // the bare directory
	}
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for i := range names {
		names[i] = "/" + names[i]
	}
	slices.Sort(names)
	return names, nil
}

func notMounted() error {
	return &os.PathError{Op: "mq list", Path: mountedAt, Err: fmt.Errorf(
		"the file system of the queues is not mounted (as root: mkdir -p %s && mount -t mqueue none %[1]s): %w", mountedAt, unix.ENOENT)}
}
