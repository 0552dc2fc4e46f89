package shm

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Create makes an object of size bytes (at least 1), all zero, under a name
// that no object has yet; else the error is EEXIST. The name is POSIX's, as
// C's shm_open and Python's SharedMemory see it: up to 255 bytes, a leading
// slash optional, no other. attr may be nil.
//
// The memory is allocated at once; where there is too little the error is
// ENOSPC or ENOMEM and names how much was wanted and how much there is. The
// object gets its name last, so that nobody ever sees half of one: wherever
// Create is killed, there is the whole object or nothing.
//
// The name and the memory stay until [Unlink] or [Sweep]. A Python program that
// attaches to the object unlinks it when it ends, unless it says track=False.
//
// Errors are *fs.PathError. Create may be called concurrently, by any number
// of processes: for one name one of them succeeds.
func Create(name string, size int64, attr *Attr) (*Object, error) {
	return create(name, size, attr, nil)
}

// create is Create; prepare, if it is not nil, fills the object before it gets
// its name.
func create(name string, size int64, attr *Attr, prepare func(*Object) error) (*Object, error) {
	const op = "create"
	path, err := pathOf(op, name)
	if err != nil {
		return nil, err
	}
	a := attr.orDefault()
	if err = a.check(true); err == nil {
		err = checkSize(size)
	}
	if err == nil {
		err = checkRoom(size)
	}
	var o *Object
	if err == nil {
		o, err = createAt(path, size, &a, prepare)
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: path, Err: err}
	}
	return o, nil
}

func createAt(path string, size int64, a *Attr, prepare func(*Object) error) (*Object, error) {
	for {
		// What is there already is not worth the pages of another.
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		if err == nil && !a.Truncate {
			return nil, exists(&st)
		}
		if err == nil {
			return takeOver(path, size, a, prepare)
		}
		o, err := createNew(path, size, a.Mode, prepare)
		if !errors.Is(err, unix.EEXIST) {
			return o, err
		}
		// It came meanwhile.
	}
}

func createNew(path string, size int64, mode fs.FileMode, prepare func(*Object) error) (*Object, error) {
	d, err := newDraft(path, mode)
	if err != nil {
		return nil, err
	}
	o := &Object{file: d.file, size: size}
	if err = d.fill(size); err == nil && prepare != nil {
		err = prepare(o)
	}
	if err == nil {
		err = d.publish(path)
	}
	if err != nil {
		d.discard()
		return nil, err
	}
	return o, nil
}

// exists is EEXIST, and says so if what has the name is no object.
func exists(st *unix.Stat_t) error {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return fmt.Errorf("%w: a symbolic link: %w", unix.EEXIST, unix.ELOOP)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%w: %s", unix.EEXIST, kindOf(st))
	}
	return unix.EEXIST
}
