package futex_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// wordsOf is a value's bytes as a peer may write them.
func wordsOf[T any](v *T) []atomic.Uint32 {
	return unsafe.Slice((*atomic.Uint32)(unsafe.Pointer(v)), unsafe.Sizeof(*v)/4)
}

func scribble(words []atomic.Uint32) {
	for i := range words {
		x := rand.Uint32()
		switch rand.IntN(6) {
		case 0:
			x = 0
		case 1:
			x &= 3 << 30
		case 2:
			x = ^uint32(0)
		case 3:
			x = uint32(os.Getpid())
		}
		words[i].Store(x)
	}
}

// unpanicked runs a call of which misuse, and nothing else, may make a panic.
func unpanicked(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if s, ok := recover().(string); ok && contains(s, "futex: Unlock of an unlocked") {
			return
		} else if ok {
			t.Errorf("panic %q", s)
		}
	}()
	f()
}

// Whatever stands in a word, calls return, with or without an error. That holds
// for a copy as well, which is a word with something in it.
func TestCase092Garbage(t *testing.T) {
	s := newShared[[2]arena](t)
	for i := range times(60, 250, 100000) {
		a := &s.Ptr()[0]
		switch {
		case i == 0: // a page that nobody touched
		case i == 1: // copies, of what is held and what is free
			b := wordsOf(&s.Ptr()[1])
			s.Ptr()[1].Robust.Lock()
			s.Ptr()[1].Mutex.Lock()
			for i := range b {
				wordsOf(a)[i].Store(b[i].Load())
			}
			s.Ptr()[1].Robust.Unlock()
		default:
			scribble(wordsOf(a))
		}
		ctx, cancel := context.WithTimeout(bg, 500*time.Microsecond)
		if ok, err := a.Robust.TryLock(); ok && err == nil {
			a.Robust.MarkConsistent()
		}
		a.Robust.LockContext(ctx)
		a.Robust.Unlock()
		if a.Mutex.LockContext(ctx) == nil {
			unpanicked(t, a.Mutex.Unlock)
		}
		unpanicked(t, a.Mutex.Unlock)
		a.Sem.Value()
		a.Sem.TryAcquire()
		a.Sem.Acquire(ctx)
		a.Sem.Release()
		a.Sem.AcquireOwned(ctx)
		scribble(wordsOf(&a.Event))
		a.Event.Wait(ctx)
		a.Event.IsSet()
		a.Event.Reset()
		a.Event.Set()
		cancel()
	}
	if err := futex.WaitUntil(&s.Ptr()[0].Word, 0, time.Now()); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// A copy of the memory, another file, comes to lie where sleepers wait. The
// kernel knows their word by its place in the old one, so no wake reaches them
// any more; a context gets them out, and neither they nor the kernel write into
// the new file. (That values must not be moved is said in the package's doc.)
//
// Without futex_waitv it is the shared word by which a context wakes, and
// nothing gets them out.
func TestCase093MemoryReplaced(t *testing.T) {
	if fuzz.Without("futex_waitv") {
		t.Skip("the sleepers can't be cancelled")
	}
	f, mem := mapFile(t, 4096, 4096)
	g, other := mapFile(t, 4096, 4096)
	r, err := futex.Attach(mem, f)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := futex.At[futex.RobustMutex](mem, 0)
	sem, _ := futex.At[futex.Semaphore](mem, 64)
	if err := m.Lock(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bg)
	errs := make(chan error, 2)
	go func() { errs <- m.LockContext(ctx) }()
	go func() { errs <- sem.Acquire(ctx) }()
	until(t, "both asleep", func() bool { return len(sleepers(os.Getpid())) >= 2 })
	copy(other, mem)
	want := bytes.Clone(mem)
	at := unsafe.Pointer(unsafe.SliceData(mem))
	if _, err := unix.MmapPtr(int(g.Fd()), 0, at, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
		t.Fatal(err)
	}
	cancel()
	for range cap(errs) {
		select {
		case <-errs:
		case <-time.After(hang):
			t.Fatal("one sleeps on")
		}
	}
	for i, b := range other {
		if b != want[i] {
			t.Errorf("byte %d of the new file is %#x, was %#x", i, b, want[i])
		}
	}
	if err := r.Detach(); err != nil {
		t.Error(err)
	}
}

// What a peer with write access can do to a lock: nothing but keep it.
func TestCase265ForgedOwners(t *testing.T) {
	s := newShared[arena](t)
	a := s.Ptr()
	m := &a.Robust
	state := (*atomic.Uint64)(unsafe.Pointer(m))
	const died, sleeping = 1 << 30, 1 << 31

	// It holds the lock for ever.
	p := start(t, s, holder)
	until(t, "locked", func() bool { return a.In.Load() == 1 })
	ctx, cancel := briefly()
	defer cancel()
	if err := m.LockContext(ctx); err != context.DeadlineExceeded {
		t.Errorf("held for ever: %v", err)
	}
	kill(t, p...)
	if err := m.LockContext(within(t)); err != futex.ErrOwnerDead {
		t.Fatal(err)
	}
	m.MarkConsistent()

	// It says that we died, as the kernel would.
	mine := state.Load()
	state.Store(mine&^(1<<30-1) | died)
	if ok, err := m.TryLock(); ok || err != nil {
		t.Errorf("a second owner: %v, %v", ok, err)
	}
	started := start(t, s, heir)
	ctx, cancel = briefly()
	defer cancel()
	if err := m.LockContext(ctx); err != context.DeadlineExceeded {
		t.Errorf("a second owner: %v", err)
	}
	if a.Plain != 0 {
		t.Error("another process is inside")
	}
	if err := m.Unlock(); err != nil {
		t.Errorf("the owner's Unlock: %v", err)
	}
	finish(t, started...)
	if a.Plain != 1 || a.Dead.Load() != 0 {
		t.Errorf("%d went in, %d were told of a death; want 1 and 0", a.Plain, a.Dead.Load())
	}

	// It says that we own what we don't: this process's own calls are bounded
	// by their contexts, and Unlock, the only remedy, is allowed.
	for _, forged := range []uint64{mine, mine | sleeping, mine | died, mine &^ (1<<30 - 1), 0x3fffffff, mine>>32<<32 | 1} {
		state.Store(forged)
		ctx, cancel := briefly()
		err := m.LockContext(ctx)
		t.Logf("state %#x: Lock %v, Unlock %v", forged, err, m.Unlock())
		cancel()
	}
	for i := range wordsOf(m) {
		wordsOf(m)[i].Store(0)
	}
	if err := errors.Join(m.Lock(), m.Unlock()); err != nil {
		t.Error(err)
	}
}

// canaries is a segment with locks and one that must not change.
type canaries struct {
	Locks, Other *os.File
	Told         *shm.Shared[arena]
}

// prey holds locks, and fills another mapping with what the kernel would mark.
var prey = proc.Register("prey", func(ctx context.Context, c canaries) error {
	told := c.Told.Ptr()
	locks, err := unix.Mmap(int(c.Locks.Fd()), 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	other, err := unix.Mmap(int(c.Other.Fd()), 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if _, err := futex.Attach(locks, c.Locks); err != nil {
		return err
	}
	for off := 0; off < 1<<16; off += 256 {
		m, err := futex.At[futex.RobustMutex](locks, off)
		if err != nil {
			return err
		}
		if err := m.Lock(); err != nil {
			return err
		}
	}
	state := *(*uint64)(unsafe.Pointer(unsafe.SliceData(locks)))
	words := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(other))), 1<<14)
	for i := range words {
		words[i] = uint32(state) & (1<<30 - 1)
	}
	told.Done.Store(int64(uintptr(unsafe.Pointer(unsafe.SliceData(other)))))
	told.In.Add(1)
	<-ctx.Done()
	return nil
})

// The lists that the kernel walks are private: a peer that fills the shared
// memory with pointers to somewhere else leads it nowhere.
func TestCase266ForgedLinks(t *testing.T) {
	for round := range times(2, 8, 200) {
		func() {
			told := newShared[arena](t)
			a := told.Ptr()
			locks, mem := mapFile(t, 1<<16, 1<<16)
			other, watched := mapFile(t, 1<<16, 1<<16)
			p, err := prey.Start(bg, canaries{locks, other, told})
			if err != nil {
				t.Fatal(err)
			}
			until(t, "all held", func() bool { return a.In.Load() == 1 })
			target := uint64(a.Done.Load())
			words := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(mem))), 1<<13)
			for i := range words {
				if round%2 == 1 && i%32 == 0 {
					continue // the locks themselves stay
				}
				words[i] = target + uint64(rand.IntN(1<<14)*4)
			}
			kill(t, p)
			seen := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(watched))), 1<<14)
			for i, w := range seen {
				if w != seen[0] || w == 0 || w&^(1<<30-1) != 0 {
					t.Fatalf("word %d is %#x, others %#x", i, w, seen[0])
				}
			}
		}()
	}
}

// pest wakes and moves the sleepers of every word, all the time.
var pest = as("wake without end", func(ctx context.Context, a *arena) error {
	words := wordsOf(a)
	a.In.Add(1)
	for n := int64(0); ctx.Err() == nil; n++ {
		w := &words[n%6]
		futex.Wake(w, futex.All)
		futex.Requeue(w, 0, &words[rand.IntN(6)], futex.All, w.Load())
		a.Done.Store(2 * n)
	}
	return nil
})

// Wakes that nobody asked for cost time, and nothing else.
func TestCase267WakesWithoutEnd(t *testing.T) {
	s := newShared[arena](t)
	a := s.Ptr()
	start(t, s, pest)
	until(t, "at it", func() bool { return a.In.Load() == 1 })
	before, began, cpu := a.Done.Load(), time.Now(), cpuTime()

	// Asleep meanwhile, and to be left so.
	ctx, cancel := context.WithTimeout(bg, 200*time.Millisecond)
	defer cancel()
	a.Mutex.Lock()
	if err := a.Robust.Lock(); err != nil {
		t.Fatal(err)
	}
	var out sync.WaitGroup
	for name, wait := range map[string]func(context.Context) error{
		"Mutex": a.Mutex.LockContext, "RobustMutex": a.Robust.LockContext,
		"Semaphore": a.Sem.Acquire, "Event": a.Event.Wait,
	} {
		out.Go(func() {
			if err := wait(ctx); err != context.DeadlineExceeded {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	out.Wait()
	if early := time.Since(began); early < 200*time.Millisecond {
		t.Errorf("left after %v", early)
	}
	t.Logf("four sleepers took %v of CPU in %v, under %d calls of the other",
		cpuTime()-cpu, time.Since(began), a.Done.Load()-before)
	a.Mutex.Unlock()
	if err := a.Robust.Unlock(); err != nil {
		t.Error(err)
	}

	// At work meanwhile: nobody gets in who should not.
	count, tokens := 0, int64(0)
	rounds := times(200, 1000, 50000)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range rounds {
				a.Mutex.Lock()
				count++
				a.Mutex.Unlock()
				if err := a.Robust.Lock(); err != nil {
					t.Error(err)
				}
				tokens++
				if err := errors.Join(a.Robust.Unlock(), a.Sem.Release(), a.Sem.Acquire(within(t))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if count != 4*rounds || tokens != int64(4*rounds) || a.Sem.Value() != 0 {
		t.Errorf("%d, %d of %d sections, %d tokens left over", count, tokens, 4*rounds, a.Sem.Value())
	}
}

func cpuTime() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
