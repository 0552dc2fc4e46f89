package shm

import (
	"fmt"
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// A MessageQueue hands messages of any length from any number of processes to
// any number of processes, in the order in which they were sent, each to one
// receiver. It keeps the promises of a [Queue] when processes are killed.
//
// It is a handle: passed to a child by package proc it is the same queue there.
// At most 120 processes can use one at a time. All methods may be called
// concurrently.
type MessageQueue struct {
	queue
	data []byte
	size uint64 // of data, a power of two
}

// Positions of a MessageQueue: bytes in the lower bits, messages in the upper.
// Both wrap; there are never more of either in a queue than half of what fits.
//
// The bytes between two positions are records: a length (8 bytes), the message,
// up to 7 bytes of padding.
const (
	messageShift = 36
	messageBytes = 1<<messageShift - 1
	maxMessages  = 1 << 30

	messageLayout = "messages: u64 length, 8-byte records" + stateLayout
)

// NewMessageQueue makes an anonymous queue of capacity bytes (1 to 1 GiB),
// rounded up to a power of two of 64 at least. A message takes its own length,
// 8 bytes, and up to 7 more.
func NewMessageQueue(capacity int) (*MessageQueue, error) {
	q := new(MessageQueue)
	return made(q, q.makeAs(home{}, kindMessages, messageLayout, capacity))
}

// CreateMessageQueue makes a queue with a name, as [CreateShared] does.
func CreateMessageQueue(name string, capacity int, attr *Attr) (*MessageQueue, error) {
	q := new(MessageQueue)
	return made(q, q.makeAs(home{name: name, attr: attr}, kindMessages, messageLayout, capacity))
}

// OpenMessageQueue finds the queue that [CreateMessageQueue] made. Errors are
// those of [OpenShared].
func OpenMessageQueue(name string, attr *Attr) (*MessageQueue, error) {
	q := new(MessageQueue)
	return made(q, q.findAs(home{name: name, attr: attr}, kindMessages, messageLayout))
}

// NewMessageQueueAt makes a queue in a mapping, at an offset that is a multiple
// of 64 and has [MessageQueueSize] bytes free. Close it before the mapping.
func NewMessageQueueAt(m *Mapping, off, capacity int) (*MessageQueue, error) {
	q := new(MessageQueue)
	return made(q, q.makeAs(home{m: m, off: off}, kindMessages, messageLayout, capacity))
}

// OpenMessageQueueAt finds the queue that [NewMessageQueueAt] made there.
// Errors are those of [OpenShared].
func OpenMessageQueueAt(m *Mapping, off int) (*MessageQueue, error) {
	q := new(MessageQueue)
	return made(q, q.findAs(home{m: m, off: off}, kindMessages, messageLayout))
}

// MessageQueueSize returns how many bytes a queue of that capacity takes in a
// mapping, or -1 if there can't be one.
func MessageQueueSize(capacity int) int {
	if capacity < 1 || capacity > maxMessages {
		return -1
	}
	return headerSize + queueStateSize + roundMessages(capacity)
}

func roundMessages(capacity int) int { return max(64, 1<<bits.Len(uint(capacity-1))) }

// made is the result of a constructor.
func made[Q any](q *Q, err error) (*Q, error) {
	if err != nil {
		return nil, err
	}
	return q, nil
}

func (q *MessageQueue) prepare(k kind, layout string) spec {
	q.robust = true
	return spec{kind: k, data: headerSize, fixed: queueStateSize, elem: 1, layout: layout}
}

func (q *MessageQueue) makeAs(at home, k kind, layout string, capacity int) (err error) {
	if capacity < 1 || capacity > maxMessages {
		return fmt.Errorf("shm: queue of %d bytes, want 1 to %d: %w", capacity, maxMessages, unix.EINVAL)
	}
	size := roundMessages(capacity)
	at.label = label(k.String(), nil)
	return q.make(at, q.prepare(k, layout), size, func() error {
		clear(q.mem[headerSize:][:queueStateSize])
		if q.st, err = stateAt(q.mem); err != nil {
			return err
		}
		q.st.capacity = uint64(size)
		return q.bind(size)
	})
}

func (q *MessageQueue) findAs(at home, k kind, layout string) error {
	size, err := q.find(at, q.prepare(k, layout))
	if err != nil {
		return err
	}
	return q.bind(size)
}

// bind finds state and data in the mapping.
func (q *MessageQueue) bind(size int) (err error) {
	if q.st, err = stateAt(q.mem); err != nil {
		return err
	}
	if c := q.st.capacity; size < 64 || size > maxMessages || size&(size-1) != 0 || c != uint64(size) {
		q.typed.close()
		return fmt.Errorf("%w: a queue of %d bytes in %d", ErrCorrupt, c, size)
	}
	q.size, q.capacity, q.shift = uint64(size), uint64(size), messageShift
	q.data = q.mem[headerSize+queueStateSize:][:size:size]
	return nil
}

// Cap returns how many bytes the queue holds, in which each message has 8 bytes
// beside its own, rounded up to a multiple of 8.
func (q *MessageQueue) Cap() int { return int(q.size) }

// MaxMessage returns the length of the longest message that fits, 0 of a zero
// handle.
func (q *MessageQueue) MaxMessage() int { return max(int(q.size)-recordHead, 0) }

// PassFiles lends the descriptors that a child needs. Package proc calls it.
func (q *MessageQueue) PassFiles() ([]*os.File, error) { return q.passFiles() }

// TakeFiles makes q the queue behind descriptors that PassFiles lent, after
// checking that it is one. It owns the descriptors; a handle in use refuses
// them with EINVAL. Package proc calls it.
func (q *MessageQueue) TakeFiles(files []*os.File) error {
	return q.takeAs(files, kindMessages, messageLayout)
}

func (q *MessageQueue) takeAs(files []*os.File, k kind, layout string) error {
	if err := q.vacant(files); err != nil {
		return err
	}
	size, err := q.take(files, always(q.prepare(k, layout)))
	if err != nil {
		return err
	}
	return q.bind(size)
}

// Len returns how many messages the queue holds just now; 0 after Close.
func (q *MessageQueue) Len() int {
	if q.enter() != nil {
		return 0
	}
	defer q.leave()
	received := q.received() // first: it can't overtake the other
	return int((q.sent() - received) & q.counts())
}

// after is the position behind a record of n bytes at pos.
func after(pos, n uint64) uint64 {
	return (pos+1<<messageShift)&^messageBytes | (pos+n)&messageBytes
}

// between is how many bytes of records lie between two positions.
func between(head, tail uint64) uint64 { return (tail - head) & messageBytes }
