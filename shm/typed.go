package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"sync"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// typed is what all typed objects are: a header and data, in a memory file of
// their own or at a place in somebody's mapping.
type typed struct {
	mu   sync.Mutex
	file *os.File
	mem  []byte // from the header on; nil once closed
	size int    // of the object, without what is mapped twice

	robust bool          // there are locks in it that outlive their holder
	region *futex.Region // where they are known, if robust and in a file
	place  *place        // where it lies, if in a mapping
}

// A home says where an object is made or looked for.
type home struct {
	label string   // an anonymous memory file, shown under this name
	name  string   // a named one
	attr  *Attr    // of the named one
	m     *Mapping // or this mapping
	off   int      // at this place
}

// create makes and maps an object of size bytes whose header is not yet valid.
// If twice is not 0 its last twice bytes are mapped a second time at the end.
func (o *typed) create(label string, size, twice int) error {
	obj, err := CreateAnon(label, int64(size), nil)
	if err != nil {
		return err
	}
	return o.adopt(obj, twice)
}

// publish writes the header; from then on the object may be handed out.
func (o *typed) publish(want spec, count int) error {
	var h header
	if err := h.describe(want, o.size, count); err != nil {
		return err
	}
	return h.write(o.mem)
}

// make makes a whole object: memory, what fill puts there, header, and last
// of all, if it has one, its name.
func (o *typed) make(at home, want spec, count int, fill func() error) error {
	size, err := want.size(count)
	if err != nil {
		return err
	}
	finish := func() error {
		err := o.attach()
		if err == nil {
			err = fill()
		}
		if err == nil {
			err = o.publish(want, count)
		}
		return err
	}
	switch {
	case at.m != nil:
		if err = o.settle(at.m, at.off, size, true); err == nil {
			err = finish()
		}
	case at.name != "":
		_, err = create(at.name, int64(size), at.attr, func(obj *Object) error {
			if err := o.adopt(obj, 0); err != nil {
				return err
			}
			return finish()
		})
	default:
		if err = o.create(at.label, size, 0); err == nil {
			err = finish()
		}
	}
	if err != nil && o.mem != nil {
		o.close()
	}
	return err
}

// find opens an object by name or in a mapping.
func (o *typed) find(at home, want spec) (count int, err error) {
	if at.m != nil {
		if err := o.settle(at.m, at.off, headerSize, false); err != nil {
			return 0, err
		}
		if count, err = o.verify(want, false); err != nil {
			err = &fs.PathError{Op: "open", Path: fmt.Sprintf("%s at %d", at.m.obj.file.Name(), at.off), Err: err}
		}
		return count, err
	}
	obj, err := Open(at.name, at.attr)
	if err != nil {
		return 0, err
	}
	if err = o.adopt(obj, 0); err == nil {
		count, err = o.verify(want, true)
	}
	if err != nil {
		err = &fs.PathError{Op: "open", Path: obj.file.Name(), Err: err}
	}
	return count, err
}

// verify checks the header of what is mapped, and only then lets this process
// take part in its locks. It closes the object if that fails.
func (o *typed) verify(want spec, exact bool) (count int, err error) {
	var h header
	if err = h.read(o.mem); err == nil {
		count, err = h.check(want, o.size, exact)
	}
	if err == nil {
		if o.size = int(h.size); o.place != nil {
			o.mem = o.mem[:o.size]
		}
		err = o.attach()
	}
	if err != nil {
		o.close()
	}
	return count, err
}

// adopt maps an object's file and takes ownership of it.
func (o *typed) adopt(obj *Object, twice int) error {
	var mem []byte
	err := control(obj.file, func(fd int) (err error) {
		if twice == 0 {
			mem, err = mmap(fd, 0, int(obj.size), int(ReadWrite))
		} else {
			mem, err = mmapTwice(fd, int(obj.size), twice)
		}
		return os.NewSyscallError("mmap", err)
	})
	if err != nil {
		obj.Close()
		return err
	}
	o.file, o.mem, o.size = obj.file, mem, int(obj.size)
	return nil
}

// attach makes the locks in the object known to the kernel.
func (o *typed) attach() (err error) {
	switch {
	case !o.robust:
	case o.place != nil:
		err = o.place.attach()
	default:
		o.region, err = futex.Attach(o.mem, o.file)
	}
	return err
}

// take maps what PassFiles of another process lent, and checks its header.
// tail says, for the object's size, how much of it is mapped twice, and which
// sizes can't be; nil: nothing, all can.
func (o *typed) take(files []*os.File, want func(size int) (s spec, twice int, err error)) (count int, err error) {
	if err := o.vacant(files); err != nil {
		return 0, err
	}
	switch len(files) {
	case 1:
	case 2:
		return o.takePlaced(files[0], files[1], want)
	default:
		closeAll(files)
		return 0, fmt.Errorf("shm: %d descriptors for one object: %w", len(files), unix.EINVAL)
	}
	obj, err := FromFile(files[0], &Attr{AllowUnsealed: hasOrHadName(files[0])})
	if err != nil {
		return 0, err
	}
	s, twice, err := want(int(obj.size))
	if err != nil {
		obj.Close()
		return 0, err
	}
	if err := o.adopt(obj, twice); err != nil {
		return 0, err
	}
	return o.verify(s, true)
}

// vacant refuses what take would put in the place of an object, which nobody could
// close any more.
func (o *typed) vacant(files []*os.File) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mem == nil {
		return nil
	}
	closeAll(files)
	return fmt.Errorf("shm: TakeFiles on a handle in use: %w", unix.EINVAL)
}

// always is the want of take for objects whose spec does not depend on size.
func always(s spec) func(int) (spec, int, error) {
	return func(int) (spec, int, error) { return s, 0, nil }
}

func (o *typed) passFiles() ([]*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.mem == nil:
		return nil, os.ErrClosed
	case o.place != nil:
		return o.place.passFiles()
	}
	return []*os.File{o.file}, nil
}

func (o *typed) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mem == nil {
		return os.ErrClosed
	}
	if o.place != nil {
		if err := o.place.leave(); err != nil {
			return err
		}
		o.mem = nil
		return nil
	}
	if o.region != nil {
		if err := o.region.Detach(); err != nil {
			return err
		}
	}
	mem := o.mem
	o.mem = nil
	return errors.Join(os.NewSyscallError("munmap", munmap(mem)), o.file.Close())
}

// gob refuses types without exported fields: a handle writes one byte, and
// its descriptors travel beside.

// GobEncode writes nothing of the object: it travels as a descriptor.
func (o *typed) GobEncode() ([]byte, error) { return []byte{0}, nil }

// GobDecode is the counterpart of GobEncode.
func (o *typed) GobDecode([]byte) error { return nil }

// label is what /proc/PID/maps shows: memfd:rawipc.Shared[T].
func label(what string, t reflect.Type) string {
	s := "rawipc." + what
	if t != nil {
		s += "[" + t.String() + "]"
	}
	return s[:min(len(s), 249)]
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
