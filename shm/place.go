package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// placeAlign is what the offset of an object in a mapping must be a multiple
// of: a cache line, so that objects side by side don't slow each other down.
const placeAlign = 64

// A place is where an object lies that has no memory file of its own.
type place struct {
	m    *Mapping
	home []byte // what of it is attached
	off  int
	own  bool     // the mapping was made for this object alone
	in   bool     // it counts as a user of the mapping's lodge
	note *os.File // tells a process that the object is passed to where it lies
}

// lodges are the mappings in which objects with robust locks lie. Memory can be
// attached only once, with all that is in it; a mapping has another memory
// after Remap.
var lodges struct {
	sync.Mutex
	at map[*byte]*lodge // by the memory's first byte
}

type lodge struct {
	region *futex.Region
	users  int
}

// lodging returns the memory of a mapping that is attached as a whole.
func (m *Mapping) lodging() []byte {
	if m.view {
		return m.obj.writable
	}
	return m.Bytes()
}

// settle finds room for size bytes at a place in a mapping, or, for an object
// that is there already, all the room behind it.
func (o *typed) settle(m *Mapping, off, size int, fresh bool) error {
	mem := m.Bytes()
	if mem == nil {
		return os.ErrClosed
	}
	if m.prot != ReadWrite {
		return fmt.Errorf("shm: an object in a mapping that is read-only: %w", unix.EACCES)
	}
	if off < 0 || off%placeAlign != 0 || size > len(mem) || off > len(mem)-size {
		return fmt.Errorf("shm: %d bytes at %d of %d bytes, want them inside, at a multiple of %d: %w",
			size, off, len(mem), placeAlign, unix.EINVAL)
	}
	if fresh {
		o.mem = mem[off : off+size]
	} else {
		o.mem = mem[off:]
	}
	o.size = len(o.mem)
	o.place = &place{m: m, home: m.lodging(), off: off}
	return nil
}

func (p *place) attach() error {
	lodges.Lock()
	defer lodges.Unlock()
	key := &p.home[0]
	l := lodges.at[key]
	if l == nil {
		l = new(lodge)
		var err error
		if l.region, err = futex.Attach(p.home, p.m.obj.file); err != nil {
			return err
		}
		if lodges.at == nil {
			lodges.at = make(map[*byte]*lodge)
		}
		lodges.at[key] = l
	}
	l.users++
	p.in = true
	return nil
}

// leave is the close of an object in a mapping. The last one that leaves
// detaches the mapping.
func (p *place) leave() error {
	lodges.Lock()
	defer lodges.Unlock()
	key := &p.home[0]
	if l := lodges.at[key]; p.in {
		if l.users == 1 {
			if err := l.region.Detach(); err != nil {
				return err
			}
			delete(lodges.at, key)
		}
		l.users--
		p.in = false
	}
	var err error
	if p.note != nil {
		err = p.note.Close()
	}
	if p.own {
		err = errors.Join(err, p.m.Close())
	}
	return err
}

// The note of a place: where the object begins in the file, and whether the
// file may be unsealed, as numbers of 8 bytes, the lowest first.
const noteSize = 16

func (p *place) passFiles() ([]*os.File, error) {
	f := p.m.obj.file
	if p.note == nil {
		obj, err := CreateAnon("rawipc.place", noteSize, nil)
		if err != nil {
			return nil, err
		}
		var b [noteSize]byte
		binary.LittleEndian.PutUint64(b[:], uint64(p.m.off)+uint64(p.off))
		if hasOrHadName(f) || !sealed(f) {
			b[8] = 1
		}
		if _, err := obj.file.WriteAt(b[:], 0); err != nil {
			obj.Close()
			return nil, err
		}
		p.note = obj.file
	}
	return []*os.File{f, p.note}, nil
}

// takePlaced is take for an object that lies in somebody's file.
func (o *typed) takePlaced(f, note *os.File, want func(int) (spec, int, error)) (int, error) {
	var b [noteSize]byte
	_, err := note.ReadAt(b[:], 0)
	note.Close()
	if err != nil {
		f.Close()
		return 0, fmt.Errorf("shm: the place of an object: %w", err)
	}
	obj, err := FromFile(f, &Attr{AllowUnsealed: b[8] == 1})
	if err != nil {
		return 0, err
	}
	defer obj.Close()
	s, twice, err := want(int(obj.size))
	if err == nil && twice != 0 {
		err = fmt.Errorf("%w: a %v lies in no mapping", ErrCorrupt, s.kind)
	}
	if err != nil {
		return 0, err
	}
	off := binary.LittleEndian.Uint64(b[:])
	if off > uint64(obj.size) {
		return 0, fmt.Errorf("%w: it lies at %d of %d bytes", ErrCorrupt, off, obj.size)
	}
	page := int64(os.Getpagesize())
	m, err := obj.Map(int64(off)/page*page, 0, ReadWrite)
	if err != nil {
		return 0, err
	}
	if err := o.settle(m, int(int64(off)%page), headerSize, false); err != nil {
		m.Close()
		return 0, err
	}
	o.place.own = true
	return o.verify(s, false)
}

// hasOrHadName reports whether f is a named object, which can't be sealed.
func hasOrHadName(f *os.File) bool {
	var path string
	err := control(f, func(fd int) (err error) {
		path, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		return err
	})
	return err == nil && !strings.HasPrefix(path, "/memfd:")
}

func sealed(f *os.File) bool {
	seals := 0
	err := control(f, func(fd int) (err error) {
		seals, err = unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		return err
	})
	return err == nil && seals&unix.F_SEAL_SHRINK != 0
}
