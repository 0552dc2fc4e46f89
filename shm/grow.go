package shm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Grow makes the object size bytes large; the new ones are allocated at once,
// and zero. Mappings keep their length until [Mapping.Remap]; other processes
// see the new size in theirs and do the same.
//
// An object that is large enough already stays as it is: nothing shrinks it, so
// when several processes grow it, the largest size wins. An anonymous object
// must have been made Growable, else the error says so and is EPERM. Where there is too
// little memory the error is as in [Create], and the object keeps the size it
// had or has got some of the growth. Grow may be called concurrently.
func (o *Object) Grow(size int64) error {
	if err := o.retain(); err != nil {
		return err
	}
	defer o.drop()
	if err := checkSize(size); err != nil {
		return fmt.Errorf("shm: grow: %w", err)
	}
	now, err := o.sizeNow()
	if err != nil || size <= now {
		return err
	}
	if err := checkRoom(size - now); err != nil {
		return fmt.Errorf("shm: grow: %w", err)
	}
	err = control(o.file, func(fd int) error {
		if o.fixed {
			return fmt.Errorf("it was not made Growable: %w", unix.EPERM)
		}
		return allocate(fd, now, size)
	})
	if err != nil {
		return fmt.Errorf("shm: grow %s from %d to %d bytes: %w", o.file.Name(), now, size, err)
	}
	return nil
}
