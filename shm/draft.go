package shm

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A draft is an object that has no name yet, so that it goes with the process
// that is making it. Where the file system has no such files (tmpfs always
// does) it has a name of a kind that nobody uses, and the next Create removes
// what dead processes left under such names.
type draft struct {
	file *os.File
	temp string // "": none
}

// draftPrefix begins the names of drafts.
const draftPrefix = ".rawipc-draft-"

func newDraft(path string, mode fs.FileMode) (*draft, error) {
	if mode == 0 {
		mode = 0o600
	}
	fd, err := openUnnamed(uint32(mode))
	if err == nil {
		return &draft{file: os.NewFile(uintptr(fd), path)}, nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, explain(err)
	}
	sweepAll(draftPrefix, func(int, *unix.Stat_t) bool { return true })
	for {
		temp := dir + "/" + draftPrefix + rand.Text()
		err := ignoringEINTR(func() (err error) {
			fd, err = unix.Open(temp, openFlags|unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, uint32(mode))
			return err
		})
		if err != nil {
			return nil, explain(err)
		}
		var st unix.Stat_t
		err = lockShared(fd)
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err == nil && leadsTo(temp, &st) {
			return &draft{os.NewFile(uintptr(fd), path), temp}, nil
		}
		unix.Close(fd)
		unix.Unlink(temp) // it is gone, unless a call failed that should not
		if err != nil {
			return nil, err
		}
		// Another Create swept it before it was locked.
	}
}

// openUnnamed is a variable for the tests of what is done without it.
var openUnnamed = func(mode uint32) (fd int, err error) {
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// fill locks, marks and allocates the draft, in that order: from the first
// step on no Sweep takes it for a dead process's.
func (d *draft) fill(size int64) error {
	return control(d.file, func(fd int) error {
		if err := lock(fd, unix.LOCK_SH); err != nil {
			return os.NewSyscallError("flock", err)
		}
		if err := mark(fd); err != nil {
			return err
		}
		return allocate(fd, 0, size)
	})
}

// publish gives the draft its name, if nobody has it. A draft with a name is not
// linked to its new one and then unlinked from the old: with two names nobody may
// open it, and it would keep both if this process were killed between.
func (d *draft) publish(path string) error {
	if d.temp != "" {
		err := unix.Renameat2(unix.AT_FDCWD, d.temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
		return os.NewSyscallError("renameat2", err)
	}
	return control(d.file, func(fd int) error {
		self := "/proc/self/fd/" + strconv.Itoa(fd)
		err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
		return explain(os.NewSyscallError("linkat", err))
	})
}

func (d *draft) discard() {
	if d.temp != "" {
		unix.Unlink(d.temp)
	}
	d.file.Close()
}
