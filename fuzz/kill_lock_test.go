package fuzz_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/fuzz"
)

// A futex lock of the textbook, for the harness to take apart. 0 is free, 1
// held, 2 held with sleepers.
type lock struct{ word atomic.Uint32 }

const (
	futexWait   = 0
	futexWake   = 1
	futexWakeOp = 5
)

func futexCall(w *atomic.Uint32, op, val, val2, val3 uintptr) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), op, val, val2, uintptr(unsafe.Pointer(w)), val3)
}

// futexSleep has no timeout, which would stand where wake-op has val2.
func futexSleep(w *atomic.Uint32, val uintptr) { futexCall(w, futexWait, val, 0, 0) }

func (l *lock) lock() {
	if l.word.CompareAndSwap(0, 1) {
		return
	}
	for l.word.Swap(2) != 0 {
		futexSleep(&l.word, 2)
	}
}

// unlockTwoSteps is broken: whoever dies between the store and the wake leaves
// a sleeper asleep on a free lock.
func (l *lock) unlockTwoSteps() {
	if l.word.Swap(0) == 2 {
		futexCall(&l.word, futexWake, 1, 0, 0)
	}
}

// unlockOneStep lets the kernel store and wake in one call.
func (l *lock) unlockOneStep() {
	if !l.word.CompareAndSwap(1, 0) {
		futexCall(&l.word, futexWakeOp, 1, 0, 0) // *w = 0, wake one
	}
}

// inherit frees a lock whose holder has died, and only that: what a robust
// lock's recovery would do.
func (l *lock) inherit(c *fuzz.Cue) error {
	c.Ready()
	c.Over()
	if l.word.Load() != 0 {
		l.word.Store(0)
		futexCall(&l.word, futexWake, 1, 0, 0)
	}
	return nil
}

func at[T any](s *fuzz.Segment) *T { return (*T)(unsafe.Pointer(&s.Mem[0])) }

func unlockOp(unlock func(*lock)) func(*fuzz.Segment) fuzz.Op {
	return func(s *fuzz.Segment) fuzz.Op {
		l := at[lock](s)
		wait := func(*fuzz.Cue) error { l.lockNamed(); l.unlockOneStep(); return nil }
		return fuzz.Op{
			Prepare: func() error { l.lock(); return nil },
			Do:      func() error { unlock(l); return nil },
			Check:   func(bool) error { l.lock(); l.unlockOneStep(); return nil },
			Casts: fuzz.Company(wait, nil,
				fuzz.Peer{Name: "heir", When: fuzz.Early, Run: l.inherit}),
		}
	}
}

// A pair must never be seen half.
type pair struct {
	a, b  atomic.Uint32
	both  atomic.Uint64
	count atomic.Uint64
}

func (p *pair) addTwoSteps() { p.a.Add(1); p.b.Add(1) }

func (p *pair) addOneStep() {
	v := p.both.Load()
	next := (v>>32+1)<<32 | (v+1)&0xffffffff
	p.both.Store(next) // the commit
}

func (p *pair) whole() error {
	b, a := p.b.Load(), p.a.Load()
	if v := p.both.Load(); a != b || v>>32 != v&0xffffffff {
		return fmt.Errorf("half an update: %d and %d, %#x", a, b, v)
	}
	return nil
}

func pairOp(add func(*pair)) func(*fuzz.Segment) fuzz.Op {
	return func(s *fuzz.Segment) fuzz.Op {
		p := at[pair](s)
		look := func(c *fuzz.Cue) error {
			for range 1000 {
				if err := p.whole(); err != nil {
					return err
				}
				p.count.Add(1)
			}
			c.Ready()
			return nil
		}
		return fuzz.Op{
			Do:    func() error { add(p); return nil },
			Check: func(bool) error { return p.whole() },
			Casts: []fuzz.Cast{{Name: "nobody"}, {Name: "reader", Peers: []fuzz.Peer{
				{Name: "reader", When: fuzz.AtPoint, Run: look}}}},
		}
	}
}

// passOp locks and unlocks while peers want to do the same.
func passOp(s *fuzz.Segment) fuzz.Op {
	l := at[lock](s)
	pass := func(*fuzz.Cue) error { l.lock(); l.unlockOneStep(); return nil }
	return fuzz.Op{
		Do:    func() error { l.lock(); l.unlockOneStep(); return nil },
		Check: func(bool) error { return pass(nil) },
		Casts: []fuzz.Cast{{Name: "passer-by", Peers: []fuzz.Peer{
			{Name: "passer-by", When: fuzz.AtPoint, Run: pass}}}},
	}
}

// wokenOp locks a held lock; its holder lets go when the victim sleeps, with a
// second sleeper behind it.
func wokenOp(s *fuzz.Segment) fuzz.Op {
	l := at[lock](s)
	return fuzz.Op{
		Do: func() error { l.lock(); l.unlockOneStep(); return nil },
		Casts: []fuzz.Cast{{Name: "woken", Peers: []fuzz.Peer{
			{Name: "holder", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
				l.lock()
				c.Ready()
				c.Blocked()
				l.unlockOneStep()
				return nil
			}},
			{Name: "second", When: fuzz.Behind, Run: func(*fuzz.Cue) error {
				l.lock()
				l.unlockOneStep()
				return nil
			}},
		}}},
	}
}

// robustHead is what the kernel walks when a thread dies.
type robustHead struct {
	next    uintptr // the first entry, or the head itself
	offset  int     // from an entry to its word
	pending uintptr // one more entry
	entry   uintptr // the one that robustOp uses: its next
}

// armed sets a thread's robust list while f runs.
func (h *robustHead) armed(f func()) error {
	var pin runtime.Pinner
	pin.Pin(h)
	defer pin.Unpin()
	if _, _, e := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(h)), 24, 0); e != 0 {
		return e
	}
	f()
	unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, 0, 24, 0)
	return nil
}

// lockNamed tells the kernel which word this thread sleeps on: when it dies
// with a wake that it can't use, the kernel wakes the next. Without that, one
// unlock in forty leaves the sleeper outside asleep when sleepers inside die.
func (l *lock) lockNamed() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h := new(robustHead)
	h.next = uintptr(unsafe.Pointer(h))
	h.pending = uintptr(unsafe.Pointer(&l.word))
	return h.armed(l.lock)
}

// robustOp holds a word by the victim's TID on the kernel's robust list, and
// lets go of it: the word ends as 0 or as OWNER_DIED.
func robustOp(s *fuzz.Segment) fuzz.Op {
	w := &at[lock](s).word
	h := new(robustHead)
	return fuzz.Op{
		Do: func() error {
			h.next = uintptr(unsafe.Pointer(&h.entry))
			h.entry = uintptr(unsafe.Pointer(h))
			h.offset = int(uintptr(unsafe.Pointer(w)) - h.next)
			return h.armed(func() {
				w.Store(uint32(unix.Gettid()))
				w.Store(0)
			})
		},
		Check: func(died bool) error {
			const ownerDied = 0x40000000
			if v := w.Load(); v != 0 && (!died || v != ownerDied) {
				return fmt.Errorf("the kernel left %#x", v)
			}
			return nil
		},
	}
}

// heirOp takes over a word that a peer held when it died, as the kernel marks
// it.
func heirOp(s *fuzz.Segment) fuzz.Op {
	w := &at[lock](s).word
	const ownerDied = 0x40000000
	hold := func(c *fuzz.Cue) error {
		runtime.LockOSThread()
		h := new(robustHead)
		h.next = uintptr(unsafe.Pointer(&h.entry))
		h.entry = uintptr(unsafe.Pointer(h))
		h.offset = int(uintptr(unsafe.Pointer(w)) - h.next)
		return h.armed(func() {
			w.Store(uint32(unix.Gettid()))
			c.Ready()
			select {}
		})
	}
	return fuzz.Op{
		Do: func() error {
			if !w.CompareAndSwap(ownerDied, 1) {
				return fmt.Errorf("the word is %#x, want the kernel's mark", w.Load())
			}
			return nil
		},
		Casts: []fuzz.Cast{{Name: "dead holder", Peers: []fuzz.Peer{
			{Name: "holder", When: fuzz.Early, Dies: true, Run: hold}}}},
	}
}
