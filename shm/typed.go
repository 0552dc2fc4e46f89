package shm

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// typed is what all typed objects are: a sealed memory file with a header, and
// its mapping.
type typed struct {
	mu   sync.Mutex
	file *os.File
	mem  []byte // nil once closed
	size int    // of the object, without what is mapped twice

	robust bool          // there are locks in it that outlive their holder
	region *futex.Region // where they are known, if robust
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
func (o *typed) publish(k kind, data int, layout string) error {
	h, err := futex.At[header](o.mem, 0)
	if err != nil {
		return err
	}
	return h.init(k, o.size, data, layout)
}

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
	if o.robust {
		if o.region, err = futex.Attach(mem, obj.file); err != nil {
			munmap(mem)
			obj.Close()
			return err
		}
	}
	o.file, o.mem, o.size = obj.file, mem, int(obj.size)
	return nil
}

// take maps the one descriptor of a passed object and checks its header.
// tail says, for the object's size, how much of it is mapped twice, and which
// sizes can't be.
func (o *typed) take(files []*os.File, k kind, data int, layout string, tail func(size int64) (int, error)) error {
	if len(files) != 1 {
		for _, f := range files {
			f.Close()
		}
		return fmt.Errorf("shm: %d descriptors for a %v, want 1: %w", len(files), k, unix.EINVAL)
	}
	obj, err := FromFile(files[0], nil)
	if err != nil {
		return err
	}
	twice, err := tail(obj.size)
	if err != nil {
		obj.Close()
		return err
	}
	if err := o.adopt(obj, twice); err != nil {
		return err
	}
	h, err := futex.At[header](o.mem, 0)
	if err == nil {
		err = h.check(k, o.size, data, layout)
	}
	if err != nil {
		o.close()
	}
	return err
}

func (o *typed) passFiles() ([]*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mem == nil {
		return nil, os.ErrClosed
	}
	return []*os.File{o.file}, nil
}

func (o *typed) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mem == nil {
		return os.ErrClosed
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
