package shm

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"structs"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// ErrShortBuffer is what a receiver returns whose buffer can't hold the next
// message, which stays where it is. The error that wraps it names the size.
var ErrShortBuffer = errors.New("shm: buffer too short")

// ErrTooLarge is what a sender returns for a message that can never fit.
var ErrTooLarge = errors.New("shm: message too large")

// ErrPeerDead is what an end of a ring returns that would have to wait for the
// other one, which is dead.
var ErrPeerDead = errors.New("shm: the process at the other end is dead")

// ringState lies behind the header, fields grouped by who writes them, each
// group on cache lines of its own (128 bytes: CPUs fetch lines in pairs).
//
// head and tail count bytes since the beginning of time: tail those that were
// written, head those that were read. They wrap at 2^64. The bytes between are
// records: a length (8 bytes), the message, up to 7 bytes of padding.
type ringState struct {
	_ structs.HostLayout
	// What changes rarely: both ends look at it with each message, and to find
	// that out of date costs as much as the message. It stands first because the
	// compiler, to check for nil, at times reads the first byte.
	closed    atomic.Uint32
	writerCPU atomic.Uint32
	readerCPU atomic.Uint32
	// Each sleeps word is set by the end that goes to sleep and cleared by the
	// other one, who then wakes it.
	readerSleeps atomic.Uint32
	writerSleeps atomic.Uint32
	// Each plain word is set by the end that commits without a fence: see goPlain.
	readerPlain atomic.Uint32
	writerPlain atomic.Uint32
	_           [100]byte
	tail        atomic.Uint64 // the writer's
	_           [120]byte
	head        atomic.Uint64 // the reader's
	_           [120]byte
	// Whose the ends are, and whether he lives.
	writer futex.Liveness
	reader futex.Liveness
}

const (
	ringLayout = "ring 3: u64 length, 8-byte records"
	asleep     = 1 << 31 // in a sleeps word
	joined     = 1 << 30 // and somebody came by: look again
	recordHead = 8
	maxRing    = 1 << (30 + 6*(wordSize/8)) // 64 GiB, or 1 GiB where an int has 32 bits
)

// NewRing makes a ring: a queue of messages of any length between one writer
// and one reader, in shared memory. capacity is in bytes, at least 1, rounded
// up to a power of two of whole pages; a message takes its own length, 8 bytes,
// and up to 7 more.
//
// Both ends are handles: keep one and pass the other to a child, or pass both.
// An end belongs to the first process that uses it, as long as that lives: for
// a second one the calls fail with EBUSY; after the owner's death (or Close)
// another may go on where it stopped. After a death the other end gets
// [ErrPeerDead] once it would have to wait, and again until somebody has taken
// the dead one's place; after a Close it waits for the next one.
func NewRing(capacity int) (*RingWriter, *RingReader, error) {
	if capacity < 1 || capacity > maxRing {
		return nil, nil, fmt.Errorf("shm: ring of %d bytes, want 1 to %d: %w", capacity, maxRing, unix.EINVAL)
	}
	page := os.Getpagesize()
	data := 1 << bits.Len(uint(max(capacity, page)-1))
	w, r := new(RingWriter), new(RingReader)
	if err := w.create(label("Ring", nil), page+data, data); err != nil {
		return nil, nil, err
	}
	w.robust = true
	err := w.publish(ringSpec(page, data), 0)
	if err == nil {
		err = w.typed.attach()
	}
	if err == nil {
		err = w.bind()
	}
	if err == nil {
		err = r.share(&w.ring)
	}
	if err != nil {
		w.Close()
		return nil, nil, err
	}
	return w, r, nil
}

func ringSpec(page, data int) spec {
	return spec{kind: kindRing, data: page, fixed: data, layout: ringLayout}
}

// ring is what the two ends have in common.
type ring struct {
	typed
	st    *ringState
	live  *ringState // st, while this process owns the end
	data  []byte     // the records' bytes, twice in a row
	size  uint64     // of data, once: a power of two
	mine  *futex.Liveness
	spin  futex.Spinner
	myCPU uint32

	plain   bool   // this end commits without a fence
	commits uint32 // since it last looked whether it may
}

// share makes o a second view of the same object, in this process.
func (o *ring) share(from *ring) error {
	var fd int
	err := control(from.file, func(n int) (err error) {
		fd, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewSyscallError("fcntl", err)
	})
	if err != nil {
		return err
	}
	return o.TakeFiles([]*os.File{os.NewFile(uintptr(fd), from.file.Name())})
}

// bind finds state and records in the mapping.
func (o *ring) bind() (err error) {
	page := os.Getpagesize()
	o.data, o.size = o.mem[page:], uint64(o.typed.size-page)
	o.st, err = futex.At[ringState](o.mem, headerSize)
	return err
}

// PassFiles lends the descriptor that a child needs. Package proc calls it.
func (o *ring) PassFiles() ([]*os.File, error) { return o.passFiles() }

// TakeFiles makes o one end of the ring behind a descriptor that PassFiles
// lent, after checking that it is one. It owns the descriptor; a handle in use
// refuses it with EINVAL. Package proc calls it.
func (o *ring) TakeFiles(files []*os.File) error {
	page := os.Getpagesize()
	o.robust = true
	_, err := o.take(files, func(size int) (spec, int, error) {
		data := size - page
		if data < page || data&(data-1) != 0 || data > maxRing {
			return spec{}, 0, fmt.Errorf("%w: a ring of %d bytes", ErrCorrupt, size)
		}
		return ringSpec(page, data), data, nil
	})
	if err != nil {
		return err
	}
	return o.bind()
}

// SetSpin fixes how long this end looks for the other one before it sleeps:
// not at all if d is negative, by the package's own policy if it is 0 (the
// default), else for d, whatever the policy says. Call it before the first
// message.
func (o *ring) SetSpin(d time.Duration) { o.spin.SetBudget(d) }

// Cap returns how many bytes of records the ring holds.
func (o *ring) Cap() int { return int(o.size) }

// MaxMessage returns the length of the longest message that fits, 0 of a zero
// handle.
func (o *ring) MaxMessage() int { return max(int(o.size)-recordHead, 0) }

// claim makes this process the owner of one end, whose other end's sleeper it
// wakes, to be watched by him.
//
// SYNC ring-member: the word is published, then the sleeper is roused, and only
// then can this process commit anything. The sleeper sets sleeps, then looks at
// the word, and sleeps if sleeps is as he set it.
func (o *ring) claim(end *futex.Liveness, cpu *atomic.Uint32, sleeps *atomic.Uint32, name string) error {
	if o.mem == nil {
		return os.ErrClosed
	}
	if ok, err := end.Claim(); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("shm: the ring has a live %s already: %w", name, unix.EBUSY)
	}
	o.mine, o.myCPU, o.plain, o.commits = end, futex.PinnedCPU(), false, 0
	cpu.Store(o.myCPU)
	rouseEnd(sleeps)
	return nil
}

// disown gives up an end that turned out to be broken.
func (o *ring) disown() {
	o.mine.Withdraw()
	o.mine, o.live = nil, nil
}

// apart reports whether spinning can help: not if both ends are bound to one
// CPU, the same, or if the other end has never been here.
func (o *ring) apart(other *atomic.Uint32) bool {
	cpu := other.Load()
	return cpu != 0 && (cpu != o.myCPU || cpu == futex.Unpinned)
}

// corrupt is the error for positions and lengths that can't be.
func (o *ring) corrupt(head, tail, length uint64) error {
	return fmt.Errorf("%w: ring of %d bytes with %d read, %d written, next length %d",
		ErrCorrupt, o.size, head, tail, length)
}

func (o *ring) close() error {
	if o.mine != nil {
		o.disown()
	}
	o.st, o.data = nil, nil
	return o.typed.close()
}

func recordSize(n int) uint64 { return recordHead + (uint64(n)+7)&^7 }
