package shm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// takeOver makes a new object of the one that is there, if nobody has it open:
// the file stays, with its mode and owner, and all its bytes go. Killed on the
// way it leaves an empty file, which the next one takes over.
func takeOver(path string, size int64, a *Attr, prepare func(*Object) error) (*Object, error) {
	fd, st, err := openAt(path, unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	o := &Object{file: os.NewFile(uintptr(fd), path), size: size}
	err = control(o.file, func(fd int) error {
		err := trusted(&st, a)
		if err != nil {
			return err
		}
		if err := lock(fd, unix.LOCK_EX); errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("another process has it open: %w", unix.EBUSY)
		} else if err != nil {
			return os.NewSyscallError("flock", err)
		}
		if !leadsTo(path, &st) {
			return fmt.Errorf("its name went to another object just now: %w", unix.EBUSY)
		}
		if err := mark(fd); err != nil {
			return err
		}
		if err := ignoringEINTR(func() error { return unix.Ftruncate(fd, 0) }); err != nil {
			return os.NewSyscallError("ftruncate", err)
		}
		return allocate(fd, 0, size)
	})
	if err == nil && prepare != nil {
		err = prepare(o)
	}
	if err == nil {
		// The kernel turns one lock into the other in two steps, between
		// which a Sweep can come.
		err = control(o.file, func(fd int) error {
			if err := lockShared(fd); err != nil {
				return err
			}
			if !leadsTo(path, &st) {
				return fmt.Errorf("its name was removed just now: %w", unix.EBUSY)
			}
			return nil
		})
	}
	if err != nil {
		o.file.Close()
		return nil, err
	}
	return o, nil
}
