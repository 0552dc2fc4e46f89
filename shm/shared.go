package shm

import (
	"fmt"
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

// New makes an anonymous shared T, all zero, and has init, if it is not nil,
// prepare it before anybody else can see it. If init fails, so does New. The
// error names the path of the first field of T that is a pointer.
func New[T any](init func(*T) error) (*Shared[T], error) {
	t := reflect.TypeFor[T]()
	layout, err := layoutOf(t)
	if err != nil {
		return nil, err
	}
	s := new(Shared[T])
	s.robust = futex.NeedsAttach(t)
	size := headerSize + max(int(t.Size()), 1)
	if err := s.create(label("Shared", t), size, 0); err != nil {
		return nil, err
	}
	s.p, err = futex.At[T](s.mem, headerSize)
	if err == nil && init != nil {
		err = init(s.p)
	}
	if err == nil {
		err = s.publish(kindShared, headerSize, layout)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
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
func (s *Shared[T]) Close() error {
	if err := s.typed.close(); err != nil {
		return err
	}
	s.mu.Lock()
	s.p = nil
	s.mu.Unlock()
	return nil
}

// PassFiles lends the descriptor that a child needs. Package proc calls it.
func (s *Shared[T]) PassFiles() ([]*os.File, error) { return s.passFiles() }

// TakeFiles makes s the T behind a descriptor that PassFiles lent, after
// checking that it is one. It owns the descriptor. Package proc calls it.
func (s *Shared[T]) TakeFiles(files []*os.File) error {
	t := reflect.TypeFor[T]()
	layout, err := layoutOf(t)
	if err != nil {
		return err
	}
	s.robust = futex.NeedsAttach(t)
	want := int64(headerSize + max(int(t.Size()), 1))
	err = s.take(files, kindShared, headerSize, layout, func(size int64) (int, error) {
		if size != want {
			return 0, fmt.Errorf("%w: %d bytes, want %d for %v", ErrCorrupt, size, want, t)
		}
		return 0, nil
	})
	if err != nil {
		return err
	}
	s.p, err = futex.At[T](s.mem, headerSize)
	return err
}
