package shm

import (
	"os"
	"reflect"

	"github.com/rawipc/rawipc/futex"
)

// A Shared is one T in memory that processes share: the home of a lock, of an
// event, or of a struct that holds several of them and what they guard. T must
// be free of pointers.
//
// It is a handle: passed to a child by package proc it is the same T there.
// Close it when this process is done with it; others keep theirs. The methods
// may be called concurrently; how the T may be used is T's own affair.
type Shared[T any] struct {
	typed
	p *T
}

// sharedData is where the T lies: on a cache line of its own.
const sharedData = headerSize

// New makes an anonymous shared T, all zero, and has init, if it is not nil,
// prepare it before anybody else can see it. If init fails, so does New. The
// error names the path of the first field of T that is a pointer.
func New[T any](init func(*T) error) (*Shared[T], error) {
	return makeShared(home{}, init)
}

// CreateShared is [New] for a T with a name, by which other processes find it
// with [OpenShared]. The name appears when the T is ready: nobody can open half
// of one, and a creator that is killed leaves none. See [Create] for names, the
// errors, and attr, which may be nil. Remove the name with [Unlink].
func CreateShared[T any](name string, init func(*T) error, attr *Attr) (*Shared[T], error) {
	return makeShared(home{name: name, attr: attr}, init)
}

// OpenShared finds the T that [CreateShared] made. Errors are those of [Open],
// [ErrCorrupt] if there is something else (the error names both layouts), and
// [ErrNamespace]; each in a *fs.PathError that says where.
func OpenShared[T any](name string, attr *Attr) (*Shared[T], error) {
	return findShared[T](home{name: name, attr: attr})
}

// NewSharedAt is [New] at offset off of a mapping, a multiple of 64, where
// [SharedSize] bytes must be free. Close it before the mapping.
func NewSharedAt[T any](m *Mapping, off int, init func(*T) error) (*Shared[T], error) {
	return makeShared(home{m: m, off: off}, init)
}

// OpenSharedAt finds the T that [NewSharedAt] made there. Errors are those of
// [OpenShared].
func OpenSharedAt[T any](m *Mapping, off int) (*Shared[T], error) {
	return findShared[T](home{m: m, off: off})
}

// SharedSize returns how many bytes a Shared[T] takes in a mapping, or -1 if there
// can't be one.
func SharedSize[T any]() int {
	t := reflect.TypeFor[T]()
	if futex.CheckType(t) != nil {
		return -1
	}
	return sharedData + max(int(t.Size()), 1)
}

// prepare finds out what a Shared[T] is.
func (s *Shared[T]) prepare() (spec, error) {
	t := reflect.TypeFor[T]()
	layout, err := layoutOf(t)
	if err != nil {
		return spec{}, err
	}
	s.robust = futex.NeedsAttach(t)
	return spec{kind: kindShared, data: sharedData, fixed: SharedSize[T]() - sharedData, layout: layout}, nil
}

func makeShared[T any](at home, init func(*T) error) (*Shared[T], error) {
	s := new(Shared[T])
	want, err := s.prepare()
	if err != nil {
		return nil, err
	}
	at.label = label("Shared", reflect.TypeFor[T]())
	err = s.make(at, want, 0, func() error {
		clear(s.mem[sharedData:])
		if err := s.bind(); err != nil || init == nil {
			return err
		}
		return init(s.p)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func findShared[T any](at home) (*Shared[T], error) {
	s := new(Shared[T])
	want, err := s.prepare()
	if err == nil {
		_, err = s.find(at, want)
	}
	if err == nil {
		err = s.bind()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Shared[T]) bind() (err error) {
	s.p, err = futex.At[T](s.mem, sharedData)
	return err
}

// Ptr returns the T itself. It is nil after Close, and the T must not be used
// then: the memory is gone.
func (s *Shared[T]) Ptr() *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p
}

// Close releases this process's mapping and descriptor. A second Close returns
// os.ErrClosed. It fails with EBUSY, and closes nothing, while goroutines of
// this process wait for a lock in the T.
//
// Unlock first what this process holds there. A lock that knows its owner, as
// [futex.RobustMutex], goes to the next one with [futex.ErrOwnerDead], as if this
// process had died; a [futex.Mutex] stays locked.
func (s *Shared[T]) Close() error {
	if err := s.typed.close(); err != nil {
		return err
	}
	s.mu.Lock()
	s.p = nil
	s.mu.Unlock()
	return nil
}

// PassFiles lends the descriptors that a child needs. Package proc calls it.
func (s *Shared[T]) PassFiles() ([]*os.File, error) { return s.passFiles() }

// TakeFiles makes s the T behind descriptors that PassFiles lent, after
// checking that it is one. It owns the descriptors; a handle in use refuses
// them with EINVAL. Package proc calls it.
func (s *Shared[T]) TakeFiles(files []*os.File) error {
	want, err := s.prepare()
	if err != nil {
		closeAll(files)
		return err
	}
	if _, err = s.take(files, always(want)); err != nil {
		return err
	}
	return s.bind()
}
