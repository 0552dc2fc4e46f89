package shm

import (
	"context"
	"errors"
	"fmt"
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

// ValueSize returns how many bytes a Value[T] takes in a mapping.
func ValueSize[T any]() int {
	return valueSlots + copies[T]()*slotSize[T]()
}

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

// Load returns the value. It never waits for a writer, dead or alive. It panics
// if v is closed.
//
// With writers that commit without a pause, a Load of a large value may have to
// copy it more than once.
func (v *Value[T]) Load() T {
	if st := v.st; st != nil && isSmall[T]() {
		w := st.word.Load()
		raceAcquire()
		return fromWord[T](w)
	}
	return v.load()
}

// How often a reader tries before it keeps writers out, if it can have that at
// once.
const loadTries = 32

// load copies the copy in use, and then looks whether it was in use all along.
//
// SYNC value-commit: the word is loaded before the copy is read and after. If
// the reader saw commit n first, it read copy n%2. That one is written again
// only for commit n+2, which begins by storing 2n+3 in the word, before the
// first byte; so as long as the word is 2n+2 or less, nobody had begun. The
// bytes that it read are those of commit n, written before 2n was stored.
//
// The copy is made by plain loads and stores, as there are no others for more
// than a word. The word's atomic operations are sequentially consistent, on the
// machines and for Go's compiler, so plain accesses don't move down across an
// atomic store or up across an atomic load; where they could move the other
// way (before the load after the copy here, after the store before it in
// begin), fence stands between. Mixtures are read, but never returned. The race
// detector does not look at memory that was mapped by hand.
func (v *Value[T]) load() (x T) {
	st := v.st
	if st == nil {
		panic(fmt.Errorf("shm: Load of a closed Value: %w", os.ErrClosed))
	}
	for i := 1; ; i++ {
		seq := st.word.Load()
		x = *v.slots[seq>>1&1]
		fence()
		if st.word.Load()-seq&^1 <= 2 {
			raceAcquire()
			return x
		}
		// Writers follow each other faster than this can copy. Somebody who
		// waits for the lock would wait for a long Update, too; but while there
		// is one, no copy is overtaken.
		if i%loadTries == 0 {
			if ok, err := st.mu.TryLock(); ok {
				x = *v.slots[st.word.Load()>>1&1]
				v.unlock(v.own(err))
				return x
			}
		}
	}
}

// Store makes the value x. Other than Load it waits for a writer if T is
// larger than 8 bytes: for a Store, or for an Update that is in its function.
func (v *Value[T]) Store(x T) error {
	st := v.st
	if st == nil {
		return os.ErrClosed
	}
	if isSmall[T]() {
		raceRelease()
		st.word.Store(v.toWord(x))
		return nil
	}
	if err := v.lock(context.Background()); err != nil {
		return err
	}
	_, n := v.begin()
	v.commit(n, x)
	return v.unlock(nil)
}

// Swap makes the value x and returns what it was. It waits as Store does.
func (v *Value[T]) Swap(x T) (old T, err error) {
	st := v.st
	if st == nil {
		return old, os.ErrClosed
	}
	if isSmall[T]() {
		raceRelease()
		w := st.word.Swap(v.toWord(x))
		raceAcquire()
		return fromWord[T](w), nil
	}
	if err := v.lock(context.Background()); err != nil {
		return old, err
	}
	p, n := v.begin()
	old = *p
	v.commit(n, x)
	return old, v.unlock(nil)
}

// Update has f change the value: f gets a copy, and when it returns nil the
// copy becomes the value, all at once. If it returns an error, Update returns
// that and the value stays. If the process is killed before, the value stays,
// and the others go on.
//
// Updates take turns: it blocks while another one runs. With a T of more than 8
// bytes Stores take turns with them. With a smaller one they don't: when the
// value was changed by Store, Swap or [Add] while f ran, f is called again, with
// what the value is now. f must not write to v, and not keep the pointer.
func (v *Value[T]) Update(f func(*T) error) error {
	return v.UpdateContext(context.Background(), f)
}

// UpdateContext is [Value.Update] that returns ctx.Err() if ctx ends while it
// waits for its turn. While f runs it can't be cancelled.
func (v *Value[T]) UpdateContext(ctx context.Context, f func(*T) error) (err error) {
	st := v.st
	if st == nil {
		return os.ErrClosed
	}
	if err := v.lock(ctx); err != nil {
		return err
	}
	defer func() { err = v.unlock(err) }() // also when f panics
	if isSmall[T]() {
		return v.updateSmall(f)
	}
	p, n := v.begin()
	draft := v.slots[n&1]
	*draft = *p
	if err := f(draft); err != nil {
		return err
	}
	v.clearGaps(draft)
	raceRelease()
	st.word.Store(2 * n) // SYNC value-commit
	return nil
}

// updateSmall commits by a compare-and-swap, so that those who write without
// the lock are not overwritten.
func (v *Value[T]) updateSmall(f func(*T) error) error {
	st, draft := v.st, v.slots[0]
	for {
		w := st.word.Load()
		raceAcquire()
		*draft = fromWord[T](w)
		if err := f(draft); err != nil {
			return err
		}
		raceRelease()
		if st.word.CompareAndSwap(w, v.toWord(*draft)) {
			return nil
		}
	}
}

// begin says in the word that the copy not in use is going to be written. It
// returns the one in use and the number of the commit to come. The lock is
// held. A writer that died here leaves nothing that matters: the next one
// writes the same copy, for the same commit.
func (v *Value[T]) begin() (inUse *T, n uint64) {
	seq := v.st.word.Load() >> 1
	v.st.word.Store(2*seq + 1)
	fence()
	return v.slots[seq&1], seq + 1
}

// commit writes x to commit n's copy and puts that in use.
func (v *Value[T]) commit(n uint64, x T) {
	draft := v.slots[n&1]
	*draft = x
	v.clearGaps(draft)
	raceRelease()
	v.st.word.Store(2 * n) // SYNC value-commit
}

func (v *Value[T]) lock(ctx context.Context) error { return v.own(v.st.mu.LockContext(ctx)) }

// own settles what came with the lock: a writer's death is nothing to repair.
func (v *Value[T]) own(err error) error {
	if err != nil && errors.Is(err, futex.ErrOwnerDead) {
		return v.st.mu.MarkConsistent()
	}
	return err
}

// unlock returns err, or else what is wrong with the lock.
func (v *Value[T]) unlock(err error) error {
	if uerr := v.st.mu.Unlock(); err == nil {
		err = uerr
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
// checking that it is one. It owns the descriptors. Package proc calls it.
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
