package shm

import (
	"os"
	"reflect"
	"structs"
	"sync/atomic"

	"github.com/rawipc/rawipc/futex"
)

// A Value is one T that processes read and write: Python's Value. T must be
// free of pointers, and of locks.
//
// Load never waits, and never sees a mixture of two values. Writers take turns.
// A process may be killed at any instruction of its own writing: the others see
// the old value or the new one, and go on.
//
// It is a handle: passed to a child by package proc it is the same value there.
// The methods may be called concurrently, but Close only when no other call is
// running. In the terminology of the Go memory model, a write synchronizes
// before each Load that sees its value.
//
// Up to 8 bytes the value is one word of memory, and Load, Store, Swap and
// [Add] are one instruction each. A larger one is kept twice: who writes fills
// the copy that is not in use, and then a single store puts it in use (the
// "latch" of databases, with a count of commits to tell a reader that its copy
// was overtaken).
type Value[T any] struct {
	typed
	st    *valueState
	slots [2]*T // of a small value: the first is Update's draft
	gaps  []span
}

// valueState lies before the copies.
//
// word is a small value itself, its bytes at the lowest addresses; what follows
// them in the word means nothing. Of a larger value it says which copy counts:
// after n commits it is 2n, and 2n+1 while the next one is written. Copy n%2
// has the value; the other one is the writer's.
type valueState struct {
	_    structs.HostLayout
	word atomic.Uint64
	_    [lineSize - 8]byte
	mu   futex.RobustMutex // writers; of small values: Updates
	_    [lineSize - 16]byte
}

const (
	lineSize   = 64
	smallSize  = 8
	valueData  = headerSize
	valueSlots = valueData + 2*lineSize
)

// NewValue makes an anonymous value that is x.
func NewValue[T any](x T) (*Value[T], error) { return makeValue(home{}, x) }

// CreateValue makes a value with a name, as [CreateShared] does.
func CreateValue[T any](name string, x T, attr *Attr) (*Value[T], error) {
	return makeValue(home{name: name, attr: attr}, x)
}

// OpenValue finds the value that [CreateValue] made. Errors are those of
// [OpenShared].
func OpenValue[T any](name string, attr *Attr) (*Value[T], error) {
	return findValue[T](home{name: name, attr: attr})
}

// NewValueAt makes a value in a mapping, at an offset that is a multiple of 64
// and has [ValueSize] bytes free. Close it before the mapping.
func NewValueAt[T any](m *Mapping, off int, x T) (*Value[T], error) {
	return makeValue(home{m: m, off: off}, x)
}

// OpenValueAt finds the value that [NewValueAt] made there. Errors are those of
// [OpenShared].
func OpenValueAt[T any](m *Mapping, off int) (*Value[T], error) {
	return findValue[T](home{m: m, off: off})
}

// ValueSize returns how many bytes a Value[T] takes in a mapping, or -1 if there
// can't be one.
func ValueSize[T any]() int { return roomFor[T](valueSlots + copies[T]()*slotSize[T]()) }

func slotSize[T any]() int {
	return (max(int(reflect.TypeFor[T]().Size()), 1) + lineSize - 1) / lineSize * lineSize
}

func copies[T any]() int {
	if isSmall[T]() {
		return 1
	}
	return 2
}

// prepare finds out what a Value[T] is.
func (v *Value[T]) prepare() (spec, error) {
	t := reflect.TypeFor[T]()
	layout, err := copied(t)
	if err != nil {
		return spec{}, err
	}
	v.robust, v.gaps = true, padding(t)
	return spec{kind: kindValue, data: valueData, fixed: ValueSize[T]() - valueData, layout: layout}, nil
}

func makeValue[T any](at home, x T) (*Value[T], error) {
	v := new(Value[T])
	want, err := v.prepare()
	if err != nil {
		return nil, err
	}
	at.label = label("Value", reflect.TypeFor[T]())
	err = v.make(at, want, 0, func() error {
		clear(v.mem[valueData:])
		if err := v.bind(); err != nil {
			return err
		}
		if isSmall[T]() {
			v.st.word.Store(v.toWord(x))
			return nil
		}
		*v.slots[0] = x
		v.clearGaps(v.slots[0])
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func findValue[T any](at home) (*Value[T], error) {
	v := new(Value[T])
	want, err := v.prepare()
	if err == nil {
		_, err = v.find(at, want)
	}
	if err == nil {
		err = v.bind()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Value[T]) bind() (err error) {
	if v.st, err = futex.At[valueState](v.mem, valueData); err != nil {
		return err
	}
	for i := 0; i < copies[T]() && err == nil; i++ {
		v.slots[i], err = futex.At[T](v.mem, valueSlots+i*slotSize[T]())
	}
	return err
}

// Close releases this process's mapping and descriptor. A second Close returns
// os.ErrClosed. It fails with EBUSY, and closes nothing, while goroutines of
// this process wait for their turn to write.
func (v *Value[T]) Close() error {
	if err := v.typed.close(); err != nil {
		return err
	}
	v.st, v.slots = nil, [2]*T{}
	return nil
}

// PassFiles lends the descriptors that a child needs. Package proc calls it.
func (v *Value[T]) PassFiles() ([]*os.File, error) { return v.passFiles() }

// TakeFiles makes v the value behind descriptors that PassFiles lent, after
// checking that it is one. It owns the descriptors; a handle in use refuses
// them with EINVAL. Package proc calls it.
func (v *Value[T]) TakeFiles(files []*os.File) error {
	want, err := v.prepare()
	if err != nil {
		closeAll(files)
		return err
	}
	if _, err = v.take(files, always(want)); err != nil {
		return err
	}
	return v.bind()
}
