package shm

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"structs"
	"sync/atomic"

	"github.com/rawipc/rawipc/futex"
)

// An Array is a fixed number of Ts that processes share: Python's Array. T must
// be free of pointers, and of locks.
//
// All methods but Len and Slice take the array's lock, so that each sees whole
// elements, and nothing of an Update that is under way. The elements are changed
// in place. When a process is killed in the middle of a change, the lock comes
// free, but the elements may be half changed: from then on the methods return
// [futex.ErrOwnerDead], until one process repairs the elements with
// [Array.Recover]. Where losing the last change is better, use a [Value].
//
// It is a handle: passed to a child by package proc it is the same array there.
// The methods may be called concurrently, but Close only when no other call is
// running.
type Array[T any] struct {
	typed
	st    *arrayState
	xs    []T
	plain bool // an element is stored by one instruction
}

// arrayState lies before the elements.
type arrayState struct {
	_  structs.HostLayout
	mu futex.RobustMutex
	// dirty is 1 while elements are being changed. Who has the lock and finds
	// it set knows that the one who set it never finished.
	dirty atomic.Uint32
	_     [lineSize - 20]byte
}

const (
	arrayData  = headerSize
	arrayElems = arrayData + lineSize // where the elements begin
)

// NewArray makes an anonymous array of copies of xs. For n zero elements:
// NewArray(make([]T, n)).
func NewArray[T any](xs []T) (*Array[T], error) { return makeArray(home{}, xs) }

// CreateArray makes an array with a name, as [CreateShared] does.
func CreateArray[T any](name string, xs []T, attr *Attr) (*Array[T], error) {
	return makeArray(home{name: name, attr: attr}, xs)
}

// OpenArray finds the array that [CreateArray] made; its length is the
// creator's. Errors are those of [OpenShared].
func OpenArray[T any](name string, attr *Attr) (*Array[T], error) {
	return findArray[T](home{name: name, attr: attr})
}

// NewArrayAt makes an array in a mapping, at an offset that is a multiple of 64
// and has [ArraySize] bytes free. Close it before the mapping.
func NewArrayAt[T any](m *Mapping, off int, xs []T) (*Array[T], error) {
	return makeArray(home{m: m, off: off}, xs)
}

// OpenArrayAt finds the array that [NewArrayAt] made there. Errors are those of
// [OpenShared].
func OpenArrayAt[T any](m *Mapping, off int) (*Array[T], error) {
	return findArray[T](home{m: m, off: off})
}

// ArraySize returns how many bytes an Array of n T takes in a mapping, or -1 if
// there can't be one.
func ArraySize[T any](n int) int {
	size, err := arraySpec[T]("").size(n)
	if err != nil {
		return -1
	}
	return roomFor[T](size)
}

func arraySpec[T any](layout string) spec {
	return spec{kind: kindArray, data: arrayData, fixed: lineSize,
		elem: int(reflect.TypeFor[T]().Size()), layout: layout}
}

// prepare finds out what an Array[T] is.
func (a *Array[T]) prepare() (spec, error) {
	t := reflect.TypeFor[T]()
	layout, err := copied(t)
	a.robust = true
	a.plain = t.Kind() >= reflect.Bool && t.Kind() <= reflect.Float64 && t.Size() <= wordSize
	return arraySpec[T](layout), err
}

func makeArray[T any](at home, xs []T) (*Array[T], error) {
	a := new(Array[T])
	want, err := a.prepare()
	if err != nil {
		return nil, err
	}
	at.label = label("Array", reflect.TypeFor[T]())
	err = a.make(at, want, len(xs), func() error {
		clear(a.mem[arrayData:arrayElems])
		err := a.bind(len(xs))
		copy(a.xs, xs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

func findArray[T any](at home) (*Array[T], error) {
	a := new(Array[T])
	want, err := a.prepare()
	n := 0
	if err == nil {
		n, err = a.find(at, want)
	}
	if err == nil {
		err = a.bind(n)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Array[T]) bind(n int) (err error) {
	a.st, err = futex.At[arrayState](a.mem, arrayData)
	if a.xs = []T{}; err == nil && n > 0 {
		a.xs, err = sliceOf[T](a.mem, arrayElems, n)
	}
	return err
}

// Len returns the number of elements, 0 after Close.
func (a *Array[T]) Len() int { return len(a.xs) }

// Slice returns the elements themselves, not a copy, nil after Close; they must
// not be used after it. Nothing guards them: use [Array.Update], or a rule of
// your own.
func (a *Array[T]) Slice() []T { return a.xs }

// Load returns element i. It blocks while another call is under way; a wait that
// a context ends is that of [Array.UpdateContext]. Errors: [futex.ErrOwnerDead];
// os.ErrClosed. It panics if there is no element i.
func (a *Array[T]) Load(i int) (x T, err error) {
	a.inside(i)
	if err := a.lock(context.Background()); err != nil {
		return x, err
	}
	x = a.xs[i]
	return x, a.st.mu.Unlock()
}

// Store makes element i x. It blocks, fails and panics as [Array.Load] does.
func (a *Array[T]) Store(i int, x T) error {
	a.inside(i)
	if err := a.lock(context.Background()); err != nil {
		return err
	}
	if a.plain {
		a.xs[i] = x
		return a.st.mu.Unlock()
	}
	a.st.dirty.Store(1)
	a.xs[i] = x
	return a.leave(true, nil)
}

func (a *Array[T]) inside(i int) {
	if uint(i) >= uint(len(a.xs)) && a.st != nil {
		panic(fmt.Sprintf("shm: element %d of an Array of %d", i, len(a.xs)))
	}
}

// Close releases this process's mapping and descriptor. A second Close returns
// os.ErrClosed. It fails with EBUSY, and closes nothing, while goroutines of
// this process wait for their turn.
func (a *Array[T]) Close() error {
	if err := a.typed.close(); err != nil {
		return err
	}
	a.st, a.xs = nil, nil
	return nil
}

// PassFiles lends the descriptors that a child needs. Package proc calls it.
func (a *Array[T]) PassFiles() ([]*os.File, error) { return a.passFiles() }

// TakeFiles makes a the array behind descriptors that PassFiles lent, after
// checking that it is one. It owns the descriptors; a handle in use refuses
// them with EINVAL. Package proc calls it.
func (a *Array[T]) TakeFiles(files []*os.File) error {
	want, err := a.prepare()
	if err != nil {
		closeAll(files)
		return err
	}
	n, err := a.take(files, always(want))
	if err != nil {
		return err
	}
	return a.bind(n)
}
