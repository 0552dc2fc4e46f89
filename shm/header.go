package shm

import (
	"bytes"
	"errors"
	"fmt"
	"structs"
	"sync/atomic"

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
)

func (k kind) String() string {
	if names := [...]string{1: "Shared", 2: "Ring"}; int(k) < len(names) && k > 0 {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// header begins each typed object. All of it but ready is written before the
// object is handed to anybody, and never changed.
//
//	 0 magic      8 bytes "rawipc\x00\x01"
//	 8 order      1, in the creator's byte order
//	12 word       the creator's word size in bytes
//	16 kind       what the object is
//	20 ready      1, stored last
//	24 size       of the whole object, in bytes
//	32 data       offset of the data
//	40 layout     fingerprint of the layout text
//	48 namespace  inode of the creator's PID namespace
//	56 textLen    length of the layout text
//	64 text       its beginning, for messages
type header struct {
	_         structs.HostLayout
	magic     [8]byte
	order     uint32
	word      uint32
	kind      uint32
	ready     atomic.Uint32
	size      uint64
	data      uint64
	layout    uint64
	namespace uint64
	textLen   uint64
	text      [headerSize - 64]byte
}

const (
	headerSize = 512
	orderMark  = 0x01020304
	wordSize   = 4 << (^uint(0) >> 63) // 4 or 8 bytes
)

var magic = [8]byte{'r', 'a', 'w', 'i', 'p', 'c', 0, 1} // the last is the version

func (h *header) init(k kind, size, data int, layout string) error {
	ns, err := pidNamespace()
	if err != nil {
		return err
	}
	h.magic, h.order, h.word, h.kind = magic, orderMark, wordSize, uint32(k)
	h.size, h.data, h.namespace = uint64(size), uint64(data), ns
	h.layout = fingerprint(layout)
	h.textLen = uint64(copy(h.text[:], layout))
	h.ready.Store(1) // SYNC header: pairs with the load in check
	return nil
}

// check compares a mapped object with what this process expects. The bytes are
// a peer's: everything is loaded once and compared with a value of our own.
func (h *header) check(k kind, size, data int, layout string) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, a...))
	}
	got := header{ // a copy: the peer may be writing
		magic: h.magic, order: h.order, word: h.word, kind: h.kind, size: h.size, data: h.data,
		layout: h.layout, namespace: h.namespace, textLen: h.textLen, text: h.text,
	}
	switch {
	case !bytes.Equal(got.magic[:7], magic[:7]):
		return bad("magic %q, want %q", got.magic[:7], magic[:7])
	case got.magic[7] != magic[7]:
		return bad("version %d, want %d", got.magic[7], magic[7])
	case h.ready.Load() != 1:
		return bad("never finished by its creator")
	case got.order != orderMark:
		return bad("byte order %#x, want %#x", got.order, orderMark)
	case got.word != wordSize:
		return bad("%d-bit words, want %d", got.word*8, wordSize*8)
	case got.kind != uint32(k):
		return bad("it is a %v, want a %v", kind(got.kind), k)
	case got.size != uint64(size):
		return bad("size field %d, the object has %d bytes", got.size, size)
	case got.data != uint64(data):
		return bad("data at %d, want %d", got.data, data)
	case got.layout != fingerprint(layout):
		n := min(got.textLen, uint64(len(got.text)))
		return bad("its layout is %q, want %q", got.text[:n], layout)
	}
	if ns, err := pidNamespace(); err != nil {
		return err
	} else if got.namespace != ns {
		return fmt.Errorf("%w: %d, this process is in %d", ErrNamespace, got.namespace, ns)
	}
	return nil
}

func pidNamespace() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, fmt.Errorf("shm: /proc/self/ns/pid: %w", err)
	}
	return st.Ino, nil
}
