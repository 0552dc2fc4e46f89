package futex

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// A guardian is a thread that never ends before its process does. The owner
// words of robust locks hold its thread id, whichever goroutine took the lock,
// and all of them are on its robust list: when the process dies, the kernel
// goes through the list and marks those that still hold the id.
//
// A word is linked once, before it is first taken, and stays: the kernel leaves
// alone what doesn't hold the dying thread's id. So Lock and Unlock never touch
// the list.
type guardian struct {
	tid   uint32
	head  *robustHead
	words int // linked
}

// maxWords is how far the kernel walks a robust list.
const maxWords = 2048

// guardians are those of one distance between words and list nodes: a head
// has room for one distance only.
type guardians struct {
	distance uintptr
	mu       sync.Mutex
	all      []*guardian
}

var guardianSets struct {
	sync.Mutex
	at map[uintptr]*guardians
}

func guardiansAt(distance uintptr) *guardians {
	guardianSets.Lock()
	defer guardianSets.Unlock()
	g := guardianSets.at[distance]
	if g == nil {
		g = &guardians{distance: distance}
		if guardianSets.at == nil {
			guardianSets.at = make(map[uintptr]*guardians)
		}
		guardianSets.at[distance] = g
	}
	return g
}

// me is the value with which this process takes the lock at addr: its identity
// above, a guardian's thread id below. The lock is linked by the first call.
func (r *Region) me(addr uintptr) (uint64, error) {
	n := r.side.node(addr)
	if me := n.me.Load(); me != 0 {
		return me, nil
	}
	return r.link(n)
}

func (r *Region) link(n *node) (uint64, error) {
	g := r.guardians
	g.mu.Lock()
	defer g.mu.Unlock()
	if me := n.me.Load(); me != 0 {
		return me, nil
	}
	k, err := g.withRoom()
	if err != nil {
		return 0, err
	}
	k.push(n)
	me := uint64(r.id)<<32 | uint64(k.tid)
	n.me.Store(me) // after the link: nobody takes a lock that isn't guarded
	return me, nil
}

// withRoom returns a guardian that can take one more word. g.mu is held.
func (g *guardians) withRoom() (*guardian, error) {
	for _, k := range g.all {
		if k.words < maxWords {
			return k, nil
		}
	}
	type started struct {
		k   *guardian
		err error
	}
	h, err := newHead(int64(g.distance) + int64(lowHalf))
	if err != nil {
		return nil, err
	}
	c := make(chan started)
	go func() {
		runtime.LockOSThread() // never undone: the thread stays
		if e := setRobustList(h); e != 0 {
			c <- started{err: sysError("set_robust_list", e)}
			return
		}
		c <- started{k: &guardian{tid: uint32(unix.Gettid()), head: h}}
		select {}
	}()
	s := <-c
	if s.err != nil {
		return nil, s.err
	}
	g.all = append(g.all, s.k)
	return s.k, nil
}

// unlink takes all words of a region off the lists, whose nodes are about to
// be unmapped: the kernel's walk would end at the first that is missing.
func (g *guardians) unlink(r *Region) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range g.all {
		k.drop(&r.side)
	}
}
