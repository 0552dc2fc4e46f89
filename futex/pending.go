package futex

import (
	"context"
	"fmt"
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
//
// Where the kernel is not told, sleepers look around (see sleep): where it refuses
// robust lists, or is older than Linux 6.2.
type pin struct {
	head  *robustHead
	saved uintptr
}

// pinTo locks the goroutine to its thread and names addr. Where C code is in
// the program, the thread may have glibc's head: its field is borrowed, as no C
// runs on the thread until unpin, but what a caller's Context may call.
func pinTo(addr *atomic.Uint32) pin {
	runtime.LockOSThread()
	if !wakesForTheDead {
		return pin{}
	}
	h := threadHead()
	if h == nil {
		return pin{}
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

// told reports whether the kernel knows of p.
func (p pin) told() bool { return p.head != nil }

// wakesForTheDead says that the kernel looks at the low 30 bits of the word alone.
// Before Linux 6.2 it wakes nobody while the word says that somebody may sleep;
// that later ones of some older series do is not to be seen from here.
var wakesForTheDead = sinceLinux(6, 2)

func sinceLinux(major, minor int) bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && since(major, minor, unix.ByteSliceToString(u.Release[:]))
}

func since(major, minor int, release string) bool {
	var a, b int
	n, _ := fmt.Sscanf(release, "%d.%d", &a, &b)
	return n == 2 && (a > major || a == major && b >= minor)
}

// sleep is [WaitContext] on the word that p names, but over after lookAround where
// the kernel is not told: there a wake may have gone with a thread that died.
func (p pin) sleep(ctx context.Context, addr *atomic.Uint32, old uint32) error {
	if p.told() {
		return WaitContext(ctx, addr, old)
	}
	_, err := someSleep(ctx, addr, old)
	return err
}

// givenHeads are the heads of threads that had none.
var givenHeads struct {
	sync.Mutex
	all  []givenHead
	next int // to look at
}

type givenHead struct {
	tid  int
	head *robustHead
}

// giveHead gives this thread a head: a new one, or that of a thread which is no
// more, of which the kernel has seen the list. It looks for such a one twice, so
// that there are few more heads than there were ever threads at one time.
func giveHead() *robustHead {
	g, me := &givenHeads, givenHead{tid: unix.Gettid()}
	g.Lock()
	defer g.Unlock()
	at := len(g.all)
	for range min(2, at) {
		g.next = (g.next + 1) % len(g.all)
		if old := g.all[g.next]; unix.Tgkill(unix.Getpid(), old.tid, 0) == unix.ESRCH {
			at, me.head = g.next, old.head
			break
		}
	}
	if me.head == nil {
		var err error
		if me.head, err = newHead(0); err != nil {
			return nil
		}
	}
	me.head.pending.Store(0)
	// Refused or not, it is another one's only after this thread's end.
	if at == len(g.all) {
		g.all = append(g.all, me)
	} else {
		g.all[at] = me
	}
	if setRobustList(me.head) != 0 {
		return nil
	}
	return me.head
}

// knownHeads save the system call that asks for a thread's head, where one
// instruction tells threads apart. A thread that comes later at the same base
// has the same head from the start if that is glibc's. If the base is the Go
// runtime's, none comes there: the pointer to it keeps it from being given again.
var knownHeads [1024]atomic.Pointer[knownHead]

type knownHead struct {
	base *byte
	head *robustHead
}

// threadHead is the head of this thread, which gets one if it has none. It is
// nil if the kernel refuses that, or if there is no memory for one.
func threadHead() *robustHead {
	var base *byte
	var c bool
	var at *atomic.Pointer[knownHead]
	if haveThreadBase() {
		base, c = threadBase()
		at = &knownHeads[hashOf(base)%uint64(len(knownHeads))]
		if k := at.Load(); k != nil && k.base == base {
			return k.head
		}
	}
	h, ok := ownHead()
	if ok && h == nil {
		h = giveHead()
	}
	if h != nil && at != nil && (!c || h.offset == glibcOffset) {
		at.Store(&knownHead{base, h})
	}
	return h
}
