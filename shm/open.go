package shm

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens the object of that name for reading and writing; where there is
// none the error is ENOENT, fs.ErrNotExist. See [Create] for names. attr may be
// nil.
//
// Anybody can put something into /dev/shm. So a link, a FIFO or whatever else
// is no object is refused, without waiting for it, and what belongs to another
// user or has a second name gives [ErrOwner], unless attr allows it. Nothing can
// keep those who may write to it from shrinking a named object:
// Mapping.ReadAt and WriteAt give an error then, pointers into it fault.
//
// Open does not block, save for the microseconds in which a [Sweep] looks at
// the object; when somebody else keeps it locked, EBUSY comes after a quarter
// of a second. Errors are *fs.PathError. It may be called concurrently.
func Open(name string, attr *Attr) (*Object, error) { return open(name, unix.O_RDWR, attr) }

// OpenReadOnly is [Open] for reading alone: mapping the object for writing
// gives EACCES.
func OpenReadOnly(name string, attr *Attr) (*Object, error) { return open(name, unix.O_RDONLY, attr) }

func open(name string, flags int, attr *Attr) (*Object, error) {
	const op = "open"
	path, err := pathOf(op, name)
	if err != nil {
		return nil, err
	}
	a := attr.orDefault()
	var o *Object
	if err = a.check(true); err == nil {
		o, err = openPath(path, flags, &a)
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: path, Err: err}
	}
	return o, nil
}

// renames is how often a name may go to another object while it is opened.
const renames = 100

var errRenamed = fmt.Errorf("its name went to another object %d times: %w", renames, unix.EBUSY)

func openPath(path string, flags int, a *Attr) (*Object, error) {
	for range renames {
		fd, st, err := openAt(path, flags)
		if err != nil {
			return nil, err
		}
		if err = trusted(&st, a); err == nil {
			err = lockShared(fd)
		}
		if err == nil && !leadsTo(path, &st) {
			// Swept or unlinked before the lock was there: nobody else
			// would find this object any more.
			unix.Close(fd)
			continue
		}
		if err == nil {
			// Only now, as who holds the lock may just have been taking it over.
			err = unix.Fstat(fd, &st)
		}
		if err == nil {
			err = checkSize(st.Size)
		}
		if err != nil {
			unix.Close(fd)
			return nil, err
		}
		return &Object{file: os.NewFile(uintptr(fd), path), size: st.Size}, nil
	}
	return nil, errRenamed
}
