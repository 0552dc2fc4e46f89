package futex

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// robustHead is the kernel's struct robust_list_head. It must stay where it is
// as long as its thread lives.
type robustHead struct {
	next    atomic.Uintptr // the first node, or the head itself
	offset  int            // from a node to its futex word
	pending atomic.Uintptr // a node that is being dealt with, or 0

	_ [40]byte // a cache line of its own
}

// node is the private side of a robust lock: its place in a guardian's list,
// where no peer can reach it, and the value that takes the lock.
type node struct {
	next atomic.Uintptr
	me   atomic.Uint64
}

// lowHalf is where the low 32 bits of a 64-bit word lie: the futex word, which
// the kernel knows.
var lowHalf = func() uintptr {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return 0
	}
	return 4
}()

func lowWord(state *atomic.Uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Add(unsafe.Pointer(state), lowHalf))
}

func addressOf(mem []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) }

func addressOfState(state *atomic.Uint64) uintptr { return uintptr(unsafe.Pointer(state)) }

// sideMemory is private memory at a fixed distance below shared memory, with
// room for a node for each place where a lock can be. Only pages with locks
// are ever touched.
type sideMemory struct {
	mem      []byte
	distance uintptr // from a lock down to its node
}

// distances are tried in turn: the first leaves room for much memory, the
// later ones fit small address spaces.
var distances = []uintptr{1 << (44 % bits.UintSize), 1 << (40 % bits.UintSize), 1 << (36 % bits.UintSize), 1 << (34 % bits.UintSize)}

// skew is added to each distance. A lock and its node are used together, and
// caches that guess by the lower bits of an address (AMD's first level does)
// would throw one out for the other: Lock and Unlock took 27 ns instead of 11.
var skew = uintptr(5*os.Getpagesize() + 5*64)

func mapSide(shared []byte) (s sideMemory, err error) {
	if bits.UintSize != 64 {
		return s, fmt.Errorf("futex: Attach: robust locks need a 64-bit machine: %w", unix.ENOTSUP)
	}
	page := uintptr(os.Getpagesize())
	first := unsafe.Pointer(unsafe.SliceData(shared))
	for _, d := range distances {
		if d += skew; d >= uintptr(first) {
			continue
		}
		into := (uintptr(first) - d) % page
		want := unsafe.Add(first, -int(into)-int(d))
		length := (into + uintptr(len(shared)) + page - 1) &^ (page - 1)
		var p unsafe.Pointer
		p, err = unix.MmapPtr(-1, 0, want, length, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED_NOREPLACE)
		if err == nil {
			return sideMemory{mem: unsafe.Slice((*byte)(p), length), distance: d}, nil
		}
	}
	return s, os.NewSyscallError("mmap", err)
}

func (s *sideMemory) unmap() error {
	return os.NewSyscallError("munmap", unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(s.mem)), uintptr(len(s.mem))))
}

func (s *sideMemory) node(addr uintptr) *node {
	return (*node)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s.mem)), addr-s.distance-addressOf(s.mem)))
}

// holds reports whether a list entry lies in this memory.
func (s *sideMemory) holds(entry uintptr) bool {
	return entry-addressOf(s.mem) < uintptr(len(s.mem))
}

// push links a node in front. The list is whole before and after the one store
// that counts.
func (k *guardian) push(n *node) {
	n.next.Store(k.head.next.Load())
	k.head.next.Store(uintptr(unsafe.Pointer(n)))
	k.words++
}

// drop unlinks all nodes of one region.
func (k *guardian) drop(s *sideMemory) {
	end := uintptr(unsafe.Pointer(k.head))
	link := &k.head.next
	for link.Load() != end {
		n := nodeAt(link)
		if s.holds(link.Load()) {
			link.Store(n.next.Load())
			n.me.Store(0)
			k.words--
		} else {
			link = &n.next
		}
	}
}

// nodeAt follows a link of our own private list.
func nodeAt(link *atomic.Uintptr) *node { return *(**node)(unsafe.Pointer(link)) }

// heads come from memory that is never given back: the kernel reads a thread's
// head when the thread ends.
var heads struct {
	sync.Mutex
	page []byte
}

func newHead(offset int64) (*robustHead, error) {
	const size = unsafe.Sizeof(robustHead{})
	heads.Lock()
	defer heads.Unlock()
	if uintptr(len(heads.page)) < size {
		p, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return nil, os.NewSyscallError("mmap", err)
		}
		heads.page = p
	}
	h := (*robustHead)(unsafe.Pointer(unsafe.SliceData(heads.page)))
	heads.page = heads.page[size:]
	h.next.Store(uintptr(unsafe.Pointer(h)))
	h.offset = int(offset)
	return h, nil
}

const headLen = 3 * unsafe.Sizeof(uintptr(0)) // the kernel's idea of the size

func setRobustList(h *robustHead) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(h)), headLen, 0)
	return e
}

// ownHead returns the head that this thread has, or nil. It is not ok where the
// kernel does not tell: C code may have one, which must not be replaced.
func ownHead() (h *robustHead, ok bool) {
	var length uintptr
	_, _, e := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&length)))
	return h, e == 0
}

// hashOf has the address of base in its upper bits.
func hashOf(base *byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(base))) * 0x9e3779b97f4a7c15 >> 54
}

func addressOfWord(w *atomic.Uint32) uintptr { return uintptr(unsafe.Pointer(w)) }

// quickMe is the value that takes the lock at state, if its region is found by
// one probe and the lock is linked; else 0.
func quickMe(state *atomic.Uint64) uint64 {
	addr := uintptr(unsafe.Pointer(state))
	r := regionCache[addr>>12&255].Load()
	if r == nil || addr-r.base >= r.size {
		return 0
	}
	return (*node)(unsafe.Add(unsafe.Pointer(state), -r.toNode)).me.Load()
}
