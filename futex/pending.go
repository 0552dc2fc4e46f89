package futex

import (
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A pin names one futex word in the list_op_pending field of the thread's own
// robust list, for as long as the goroutine stays on that thread. If the thread
// dies meanwhile, the kernel wakes one sleeper of the word. Two kinds of
// threads need that: one that was woken, and would take the wake with it into
// death; and one that has changed a word and is about to wake.
//
// The kernel does so only where the word's low 30 bits are 0, and would write
// into the word if they were the dying thread's id. So a word that is named
// holds no count there.
type pin struct {
	head  *robustHead
	saved uintptr
}

// threadHeads are the heads of threads that had none, by thread id. A thread
// of the same id later finds the old one's, which the kernel has forgotten.
var threadHeads = struct {
	sync.Mutex
	at map[int]*robustHead
}{at: make(map[int]*robustHead)}

// pinTo locks the goroutine to its thread and names addr. Where C code is in
// the program, the thread may have glibc's head: its field is borrowed, as no C
// runs on the thread until unpin.
func pinTo(addr *atomic.Uint32) pin {
	runtime.LockOSThread()
	h := threadHead()
	if h == nil {
		return pin{} // the re-checks remain
	}
	p := pin{h, h.pending.Load()}
	h.pending.Store(addressOfWord(addr) - uintptr(h.offset))
	return p
}

func (p pin) unpin() {
	if p.head != nil {
		p.head.pending.Store(p.saved)
	}
	runtime.UnlockOSThread()
}

func giveHead() *robustHead {
	tid := unix.Gettid()
	threadHeads.Lock()
	defer threadHeads.Unlock()
	h := threadHeads.at[tid]
	if h == nil {
		var err error
		if h, err = newHead(0); err != nil {
			return nil
		}
		threadHeads.at[tid] = h
	}
	h.pending.Store(0)
	if setRobustList(h) != 0 {
		return nil
	}
	return h
}

// knownHeads save the system call that asks for a thread's head, where one
// instruction tells threads apart. A thread that comes later at the same base
// has the same head from the start if that is glibc's. Else it has none yet, and
// the kernel has said that the thread of the known one is no more: it clears
// alive, which in a thread that the Go runtime has made is nobody else's business.
// The head may have gone to a third thread since, of the first one's id: that
// lives under another number.
var knownHeads [1024]atomic.Pointer[knownHead]

type knownHead struct {
	base uintptr
	head *robustHead
	life uint32 // what alive is as long as the thread lives; 0: the head is glibc's
}

// threadHead is the head of this thread, which gets one if it has none. It is
// nil if the kernel refuses that, or if there is no memory for one.
func threadHead() *robustHead {
	var base uintptr
	var c bool
	var at *atomic.Pointer[knownHead]
	if haveThreadBase() {
		base, c = threadBase()
		at = &knownHeads[uint64(base)*0x9e3779b97f4a7c15>>54]
		if k := at.Load(); k != nil && k.base == base && (k.life == 0 || k.head.alive.Load() == k.life) {
			return k.head
		}
	}
	h, ok := ownHead()
	if !ok {
		return nil
	}
	if h == nil {
		if h = giveHead(); h != nil && at != nil && !c && h.live() {
			at.Store(&knownHead{base, h, h.lives})
		}
	} else if c && h.offset == glibcOffset {
		at.Store(&knownHead{base, h, 0})
	}
	return h
}
