package shm

import (
	"fmt"
	"math/bits"
	"os"
	"reflect"

	"golang.org/x/sys/unix"
)

// A Queue hands Ts from any number of processes to any number of processes, in
// the order in which they were sent, each to one receiver. T must be free of
// pointers, and of locks; it is copied in and out. For messages of different
// lengths there is [MessageQueue], for one sender and one receiver the faster
// ring ([NewRing]).
//
// Any of the processes may be killed at any instruction: what Send returned for
// is in the queue and stays there; what it did not return for is in the queue
// whole or not at all. A receiver that is killed takes at most the messages
// with it that it was receiving. The others go on.
//
// What was written to memory before a Send can be read after the Recv that takes
// its message. A call is no full fence: it does not keep what comes before it from
// being seen after what comes behind it, as two atomic operations would be.
//
// A process that alone has ever sent to the queue sends without a lock, and one that
// alone has received receives without, after some thousand calls; the first call of
// another one, or of a second goroutine at the same time, ends that for good.
//
// A queue with a name can't be sealed: a process that may open it can end the
// others by truncating it.
//
// It is a handle: passed to a child by package proc it is the same queue there.
// At most 120 processes can use one at a time. All methods may be called
// concurrently.
type Queue[T any] struct {
	queue
	slots []T
	size  uint64 // of slots, a power of two
	ahead uint64 // see prefetchAhead
}

// NewQueue makes an anonymous queue for capacity messages, 1 at least.
func NewQueue[T any](capacity int) (*Queue[T], error) { return makeQueue[T](home{}, capacity) }

// CreateQueue makes a queue with a name, as [CreateShared] does.
func CreateQueue[T any](name string, capacity int, attr *Attr) (*Queue[T], error) {
	return makeQueue[T](home{name: name, attr: attr}, capacity)
}

// OpenQueue finds the queue that [CreateQueue] made. Errors are those of
// [OpenShared].
func OpenQueue[T any](name string, attr *Attr) (*Queue[T], error) {
	return findQueue[T](home{name: name, attr: attr})
}

// NewQueueAt makes a queue in a mapping, at an offset that is a multiple of 64
// and has [QueueSize] bytes free. Close it before the mapping.
func NewQueueAt[T any](m *Mapping, off, capacity int) (*Queue[T], error) {
	return makeQueue[T](home{m: m, off: off}, capacity)
}

// OpenQueueAt finds the queue that [NewQueueAt] made there. Errors are those of
// [OpenShared].
func OpenQueueAt[T any](m *Mapping, off int) (*Queue[T], error) {
	return findQueue[T](home{m: m, off: off})
}

// QueueSize returns how many bytes a Queue for so many T takes in a mapping, or
// -1 if there can't be one.
func QueueSize[T any](capacity int) int {
	elem := max(int(reflect.TypeFor[T]().Size()), 1)
	if capacity < 1 || capacity > maxSlots(elem) {
		return -1
	}
	return roomFor[T](headerSize + queueStateSize + 1<<bits.Len(uint(capacity-1))*elem)
}

func findQueue[T any](at home) (*Queue[T], error) {
	q := new(Queue[T])
	want, err := q.prepare()
	if err != nil {
		return nil, err
	}
	slots, err := q.find(at, want)
	if err == nil {
		err = q.bind(slots)
	}
	if err != nil {
		return nil, err
	}
	return q, nil
}

func makeQueue[T any](at home, capacity int) (*Queue[T], error) {
	q := new(Queue[T])
	want, err := q.prepare()
	if err != nil {
		return nil, err
	}
	if most := maxSlots(want.elem); capacity < 1 || capacity > most {
		return nil, fmt.Errorf("shm: queue for %d messages, want 1 to %d: %w", capacity, most, unix.EINVAL)
	}
	slots := 1 << bits.Len(uint(capacity-1))
	at.label = label("Queue", reflect.TypeFor[T]())
	err = q.make(at, want, slots, func() error {
		clear(q.mem[headerSize:][:queueStateSize])
		if q.st, err = stateAt(q.mem); err != nil {
			return err
		}
		q.st.capacity = uint64(capacity)
		return q.bind(slots)
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

// maxSlots is how many slots of that size there can be: 64 GiB of them, or 1 GiB
// where an int has 32 bits.
func maxSlots(elem int) int { return 1 << (bits.Len(uint(maxRing/elem)) - 1) }

func (q *Queue[T]) prepare() (spec, error) {
	t := reflect.TypeFor[T]()
	layout, err := copied(t)
	if err != nil {
		return spec{}, err
	}
	q.robust = true
	return spec{kind: kindQueue, data: headerSize, fixed: queueStateSize, elem: max(int(t.Size()), 1), layout: layout + stateLayout}, nil
}

// bind finds state and slots in the mapping.
func (q *Queue[T]) bind(slots int) (err error) {
	if q.st, err = stateAt(q.mem); err != nil {
		return err
	}
	c := q.st.capacity
	if slots < 1 || slots&(slots-1) != 0 || c < 1 || c > uint64(slots) {
		q.typed.close()
		return fmt.Errorf("%w: a queue for %d messages in %d slots", ErrCorrupt, c, slots)
	}
	q.size, q.capacity = uint64(slots), c
	q.ahead = uint64(1 + prefetchAhead/max(int(reflect.TypeFor[T]().Size()), 1))
	q.slots, err = slotsAt[T](q.mem, slots)
	return err
}

// vacant refuses a closed handle as well: no call of it would do anything.
func (q *queue) vacant(files []*os.File) error {
	if q.users.Load() < 0 {
		closeAll(files)
		return fmt.Errorf("shm: TakeFiles on a queue that was closed: %w", os.ErrClosed)
	}
	return q.typed.vacant(files)
}

// Cap returns how many messages the queue holds.
func (q *Queue[T]) Cap() int { return int(q.capacity) }

// PassFiles lends the descriptors that a child needs. Package proc calls it.
func (q *Queue[T]) PassFiles() ([]*os.File, error) { return q.passFiles() }

// TakeFiles makes q the queue behind descriptors that PassFiles lent, after
// checking that it is one. It owns the descriptors; a handle in use refuses
// them with EINVAL. Package proc calls it.
func (q *Queue[T]) TakeFiles(files []*os.File) error {
	if err := q.vacant(files); err != nil {
		return err
	}
	want, err := q.prepare()
	if err != nil {
		closeAll(files)
		return err
	}
	slots, err := q.take(files, always(want))
	if err != nil {
		return err
	}
	return q.bind(slots)
}
