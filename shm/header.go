package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// ErrCorrupt is what opening or using a typed object returns when its bytes
// can't be what they should be: not ours, damaged, of another version, another
// machine or another type. The error that wraps it says which.
var ErrCorrupt = errors.New("shm: not a valid object")

// ErrNamespace is what opening a typed object returns in a PID namespace other
// than its creator's, where its owners could not be told apart.
var ErrNamespace = errors.New("shm: object of another PID namespace")

// A kind is what a typed object is.
type kind uint32

const (
	kindShared kind = 1 + iota
	kindRing
	kindValue
	kindArray
	kindQueue
	kindMessages
	kindObjects
)

var kindNames = [...]string{kindShared: "Shared", kindRing: "Ring", kindValue: "Value", kindArray: "Array",
	kindQueue: "Queue", kindMessages: "MessageQueue", kindObjects: "ObjectQueue"}

func (k kind) String() string {
	if k > 0 && int64(k) < int64(len(kindNames)) {
		return kindNames[k]
	}
	return fmt.Sprintf("number %d", uint32(k))
}

// A header begins each typed object. All of it but ready is written before the
// object is handed to anybody, and never changed. In memory, numbers in the
// creator's byte order:
//
//	 0 magic      8 bytes "rawipc\x00\x01", the last is the version
//	 8 order      0x01020304
//	12 word       the creator's word size in bytes
//	16 kind       what the object is
//	20 ready      1, stored last
//	24 size       of the whole object, header included, in bytes
//	32 data       offset of the data
//	40 count      of elements, where there may be several
//	48 layout     fingerprint of the layout text
//	56 namespace  inode of the creator's PID namespace
//	64 textLen    length of the layout text
//	72 text       its beginning, so that a misfit can be explained
type header struct {
	magic       [8]byte
	order, word uint32
	kind        kind
	ready       uint32
	size, data  uint64
	count       uint64
	layout      uint64
	namespace   uint64
	textLen     uint64
	text        [headerSize - textAt]byte
}

const (
	headerSize = 512
	readyAt    = 20
	textAt     = 72
	orderMark  = 0x01020304
	wordSize   = 4 << (^uint(0) >> 63) // 4 or 8 bytes
)

var magic = [8]byte{'r', 'a', 'w', 'i', 'p', 'c', 0, 1} // the last is the version

// A spec is what a process expects of an object: its kind, and where its data
// lies. The data is fixed bytes long, then count times elem.
type spec struct {
	kind   kind
	data   int
	fixed  int
	elem   int
	layout string
}

// size returns how many bytes an object with count elements has.
func (s spec) size(count int) (int, error) {
	if count < 0 || s.elem > 0 && count > (math.MaxInt-s.data-s.fixed)/s.elem {
		return 0, fmt.Errorf("shm: %v of %d elements of %d bytes: %w", s.kind, count, s.elem, unix.EINVAL)
	}
	return s.data + s.fixed + count*s.elem, nil
}

// describe makes h the header of an object that this process makes.
func (h *header) describe(want spec, size, count int) (err error) {
	if h.namespace, err = pidNamespace(); err != nil {
		return err
	}
	h.magic, h.order, h.word, h.kind = magic, orderMark, wordSize, want.kind
	h.size, h.data, h.count = uint64(size), uint64(want.data), uint64(count)
	h.layout, h.textLen = fingerprint(want.layout), uint64(len(want.layout))
	copy(h.text[:], want.layout)
	return nil
}

// write puts h at the beginning of mem, and ready last.
//
// SYNC header: who loads ready and finds it set sees all that was stored
// before.
func (h *header) write(mem []byte) error {
	ready, err := futex.WordAt(mem, readyAt)
	if err != nil {
		return err
	}
	ready.Store(0)
	e := binary.NativeEndian
	copy(mem, h.magic[:])
	e.PutUint32(mem[8:], h.order)
	e.PutUint32(mem[12:], h.word)
	e.PutUint32(mem[16:], uint32(h.kind))
	for i, v := range [...]uint64{h.size, h.data, h.count, h.layout, h.namespace, h.textLen} {
		e.PutUint64(mem[24+8*i:], v)
	}
	copy(mem[textAt:headerSize], h.text[:])
	ready.Store(1)
	return nil
}

// read loads the header at the beginning of mem, each byte once: a peer may be
// writing, so what is checked is what is used.
func (h *header) read(mem []byte) error {
	if len(mem) < headerSize {
		return fmt.Errorf("%w: %d bytes, a header has %d", ErrCorrupt, len(mem), headerSize)
	}
	ready, err := futex.WordAt(mem, readyAt)
	if err != nil {
		return err
	}
	h.ready = ready.Load() // SYNC header: before all else
	var b [headerSize]byte
	copy(b[:], mem)
	h.parse(&b)
	return nil
}

// parse sets all fields but ready.
func (h *header) parse(b *[headerSize]byte) {
	e := binary.NativeEndian
	h.magic = [8]byte(b[:])
	h.order, h.word, h.kind = e.Uint32(b[8:]), e.Uint32(b[12:]), kind(e.Uint32(b[16:]))
	for i, v := range [...]*uint64{&h.size, &h.data, &h.count, &h.layout, &h.namespace, &h.textLen} {
		*v = e.Uint64(b[24+8*i:])
	}
	copy(h.text[:], b[textAt:])
}

// check compares h with what this process expects of an object that lies in
// room bytes, and fills them if it has them for itself. It returns the number
// of elements; the object is want.size of that long.
func (h *header) check(want spec, room int, exact bool) (count int, err error) {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, a...))
	}
	base, elem := uint64(want.data)+uint64(want.fixed), uint64(want.elem)
	switch {
	case h.ready == 0 && h.magic == [8]byte{}:
		return 0, bad("never begun, or never finished by its creator")
	case [7]byte(h.magic[:7]) != [7]byte(magic[:7]):
		return 0, bad("magic %q, want %q", h.magic[:7], magic[:7])
	case h.magic[7] != magic[7]:
		return 0, bad("version %d, want %d", h.magic[7], magic[7])
	case h.order != orderMark:
		return 0, bad("byte order %#x, want %#x", h.order, orderMark)
	case h.word != wordSize:
		return 0, bad("words of %d bytes, want %d", h.word, wordSize)
	case h.ready != 1:
		return 0, bad("never finished by its creator")
	case h.kind != want.kind:
		return 0, bad("kind %v, want %v", h.kind, want.kind)
	case h.layout != fingerprint(want.layout):
		return 0, bad("%s", misfit(h.text[:min(h.textLen, uint64(len(h.text)))], h.textLen, want.layout))
	case h.data != uint64(want.data):
		return 0, bad("data at %d, want %d", h.data, want.data)
	case h.size > uint64(room) || exact && h.size != uint64(room):
		return 0, bad("size %d in %d bytes", h.size, room)
	case h.size < base:
		return 0, bad("size %d, want %d at least", h.size, base)
	case h.count > math.MaxInt || elem > 0 && h.count > (h.size-base)/elem:
		return 0, bad("%d elements of %d bytes in %d bytes", h.count, elem, h.size)
	case h.size != base+h.count*elem:
		return 0, bad("size %d with %d elements of %d bytes, want %d", h.size, h.count, elem, base+h.count*elem)
	}
	ns, err := pidNamespace()
	if err == nil && h.namespace != ns {
		err = fmt.Errorf("%w: %d, this process is in %d", ErrNamespace, h.namespace, ns)
	}
	return int(h.count), err
}

var namespaceFile = "/proc/self/ns/pid"

func pidNamespace() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(namespaceFile, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: namespaceFile, Err: err}
	}
	return st.Ino, nil
}
