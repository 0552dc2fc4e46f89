package futex

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotAttached is what a robust lock returns that lies in memory which this
// process has not declared with [Attach].
var ErrNotAttached = errors.New("futex: the lock's memory is not attached: put the lock into a shm.Shared, or call Attach")

// A Region is memory in which robust locks may lie: [RobustMutex] and the other
// types that outlive their holder. It gives this process an identity there, by
// which others can tell whether it is alive.
//
// Its methods may be called concurrently.
type Region struct {
	base, size uintptr
	toNode     int    // from a lock down to its node
	id         uint32 // this process, in this memory; never 0
	judge      judge
	side       sideMemory
	guardians  *guardians

	waiters  atomic.Int32 // goroutines that wait for something in it
	waking   atomic.Int32 // goroutines between a change and the wake after it
	detached atomic.Bool
}

// A judge tells whether a process is dead to its last thread.
type judge interface {
	dead(id uint32) bool
	close()
}

var regions struct {
	sync.RWMutex
	all []*Region
}

// attaching is held from the look whether memory is declared until it is. The
// lock of regions would make those who lock something wait for its system calls.
var attaching sync.Mutex

// regionCache finds most locks' region with one probe, by page.
var regionCache [256]atomic.Pointer[Region]

func cacheSlot(addr uintptr) *atomic.Pointer[Region] { return &regionCache[addr>>12&255] }

// Attach declares mem, which must be shared memory, as the home of robust
// locks. It must be called in each process, once for each mapping, before the
// first lock, and [Region.Detach] before mem is unmapped. Types of package shm
// do both.
//
// f is the file that mem maps. Processes are told apart, and found dead, by
// locks on bytes far behind its end (open file description locks), which the
// kernel drops when the last thread of a process is gone, or when it executes
// another program. f is opened anew through /proc/self/fd, for writing; it need
// not stay open.
//
// With a nil f processes are known by pid and start time, as /proc has them.
// That works for any memory, but sees no exec: a process that became
// another program while it held a lock keeps it as long as that program runs.
// Pids mean nothing in another PID namespace, and nothing here can check that.
//
// Memory that overlaps what this process has declared is refused with EEXIST.
//
// Attach starts, at the first lock and then for every 2,048, a goroutine that
// holds an operating-system thread for good: the kernel marks the locks of a
// thread that dies, and goroutines are no threads.
func Attach(mem []byte, f *os.File) (*Region, error) {
	if len(mem) == 0 {
		return nil, fmt.Errorf("futex: Attach of no memory: %w", unix.EINVAL)
	}
	r := &Region{base: addressOf(mem), size: uintptr(len(mem))}
	attaching.Lock()
	defer attaching.Unlock()
	regions.RLock()
	for _, other := range regions.all {
		if r.base < other.base+other.size && other.base < r.base+r.size {
			regions.RUnlock()
			return nil, fmt.Errorf("futex: Attach of memory that is attached already: %w", unix.EEXIST)
		}
	}
	regions.RUnlock()
	var err error
	if f != nil {
		r.judge, r.id, err = judgeByFile(f)
	} else {
		r.judge, r.id, err = judgeByPid()
	}
	if err != nil {
		return nil, err
	}
	if r.side, err = mapSide(mem); err != nil {
		r.judge.close()
		return nil, err
	}
	haveThreadBase() // now, and not in the middle of the first wait
	r.toNode, r.guardians = int(r.side.distance), guardiansAt(r.side.distance)
	regions.Lock()
	regions.all = append(regions.all, r)
	regions.Unlock()
	return r, nil
}

// Detach undoes [Attach]. It fails with EBUSY while goroutines of this process
// wait for a lock in the memory; a second one returns os.ErrClosed.
//
// Unlock first what this process holds there. Where processes are known by the
// file, the last Detach of its memory is for the others as this process's death:
// they get its robust locks with [ErrOwnerDead], and drop its readers and
// take back its owned tokens, while it goes on. A [Mutex], and where processes
// are known by pid every lock, stays held.
func (r *Region) Detach() error {
	if r.waiters.Load() != 0 {
		return fmt.Errorf("futex: Detach while %d goroutines wait for a lock there: %w", r.waiters.Load(), unix.EBUSY)
	}
	if r.detached.Swap(true) {
		return os.ErrClosed
	}
	regions.Lock()
	for i, other := range regions.all {
		if other == r {
			regions.all = append(regions.all[:i], regions.all[i+1:]...)
			break
		}
	}
	for i := range regionCache {
		regionCache[i].CompareAndSwap(r, nil)
	}
	dropSlots(r)
	regions.Unlock()
	// An operation may have one kernel call to go that names a word here.
	for r.waking.Load() != 0 {
		time.Sleep(10 * time.Microsecond)
	}
	r.guardians.unlink(r)
	r.judge.close()
	return r.side.unmap()
}

// regionOf finds the region that holds addr, or nil.
func regionOf(addr uintptr) *Region {
	if r := cacheSlot(addr).Load(); r != nil && addr-r.base < r.size {
		return r
	}
	return findRegion(addr)
}

func findRegion(addr uintptr) *Region {
	regions.RLock()
	defer regions.RUnlock()
	for _, r := range regions.all {
		if addr-r.base < r.size {
			cacheSlot(addr).Store(r)
			return r
		}
	}
	return nil
}

// beginWait and beginWake note an operation that uses addr for as long as the
// counter which they return is up: Detach refuses to overtake a wait, and waits
// for a wake. It is nil in memory that isn't attached.
func beginWait(addr uintptr) *atomic.Int32 {
	if r := regionOf(addr); r != nil {
		r.waiters.Add(1)
		return &r.waiters
	}
	return nil
}

func beginWake(addr uintptr) *atomic.Int32 {
	if r := regionOf(addr); r != nil {
		r.waking.Add(1)
		return &r.waking
	}
	return nil
}

func done(n *atomic.Int32) {
	if n != nil {
		n.Add(-1)
	}
}

// fullyDead reports whether the process of that identity is gone to its last
// thread. Nothing that it has begun can still touch the memory then.
func (r *Region) fullyDead(id uint32) bool { return id != r.id && r.judge.dead(id) }
