package futex_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"

	"golang.org/x/sys/unix"
)

func TestCase044NoFileBehind(t *testing.T) {
	page := os.Getpagesize()
	_, mem := mapFile(t, page, 2*page)
	past, err := futex.WordAt(mem, page)
	if err != nil {
		t.Fatal(err)
	}
	if err := futex.Wait(past, 0); !errors.Is(err, unix.EFAULT) {
		t.Errorf("Wait past the end of the file: %v", err)
	}
	if _, err := futex.Wake(past, 1); err != nil && !errors.Is(err, unix.EFAULT) {
		t.Errorf("Wake past the end of the file: %v", err)
	}
	gone, err := unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	w, err := futex.WordAt(gone, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Munmap(gone); err != nil {
		t.Fatal(err)
	}
	if err := futex.Wait(w, 0); !errors.Is(err, unix.EFAULT) {
		t.Errorf("Wait on memory that is gone: %v", err)
	}
	if fuzz.Without("futex_waitv") {
		return // WaitAny looks for itself, and memory that isn't there faults
	}
	if _, err := futex.WaitAny(bg, futex.Word{Addr: w}); !errors.Is(err, unix.EFAULT) {
		t.Errorf("WaitAny on memory that is gone: %v", err)
	}
}

// A time.Time has no negative nanoseconds and no 10^9 of them; what is left of
// case 46 is times before the clock's own beginning.
func TestCase046TimesBeforeTheClock(t *testing.T) {
	var w atomic.Uint32
	for _, at := range []time.Time{
		time.Unix(0, 0), time.Unix(-1, 999999999), time.Unix(-1<<62, 0), time.Now().Add(-1),
		time.Unix(1, 1e9), time.Unix(1, -1),
	} {
		if err := futex.WaitUntil(&w, 0, at); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v: %v", at, err)
		}
	}
}

var (
	waiter = as("wait on the word", func(ctx context.Context, a *arena) error {
		for a.Word.Load() == 0 {
			if err := futex.WaitContext(ctx, &a.Word, 0); err != nil {
				return err
			}
		}
		a.In.Add(1)
		return nil
	})
	plainWaiter = as("wait on the word without a context", func(_ context.Context, a *arena) error {
		for a.Word.Load() == 0 {
			if err := futex.Wait(&a.Word, 0); err != nil {
				return err
			}
		}
		a.In.Add(1)
		return nil
	})
)

// The processes map the word where the kernel puts it, so at different places.
func TestCase048TwoProcesses(t *testing.T) {
	s := newShared[arena](t)
	actors := start(t, s, waiter, plainWaiter)
	untilAsleep(t, actors...)
	s.Ptr().Word.Store(1)
	if n, err := futex.Wake(&s.Ptr().Word, futex.All); n != 2 || err != nil {
		t.Errorf("woke %d, %v, want 2", n, err)
	}
	finish(t, actors...)
}

// The API has no private flag, so a wake through one mapping always reaches
// who sleeps through another one.
func TestCase049TwoMappings(t *testing.T) {
	f, a := mapFile(t, 4096, 4096)
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	here, _ := futex.WordAt(a, 8)
	there, _ := futex.WordAt(b, 8)
	if here == there {
		t.Fatal("one mapping")
	}
	wakeAll(t, there, asleep(t, here))
	wakeAll(t, here, asleep(t, there))
	done := make(chan error, 1)
	go func() {
		_, err := futex.WaitAny(canceller(t), futex.Word{Addr: here})
		done <- err
	}()
	wakeAll(t, there, done)
}

// Two words of one huge page, where the kernel gives one.
func TestCase050HugePage(t *testing.T) {
	const huge = 2 << 20
	mem, err := unix.Mmap(-1, 0, 2*huge, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mem))) % huge)
	page := mem[off : off+huge]
	if err := unix.Madvise(page, unix.MADV_HUGEPAGE); err != nil {
		t.Logf("ordinary pages: madvise: %v", err)
	}
	var w [3]*atomic.Uint32
	for i, at := range []int{0, 4096, huge - 4} {
		if w[i], err = futex.WordAt(page, at); err != nil {
			t.Fatal(err)
		}
		w[i].Store(0)
	}
	done := asleep(t, w[0])
	for _, other := range w[1:] {
		if n, err := futex.Wake(other, futex.All); n != 0 || err != nil {
			t.Errorf("a wake of another word woke %d, %v", n, err)
		}
	}
	wakeAll(t, w[0], done)
}

// again runs some tests in a process of their own, with something added to the
// environment.
func again(t *testing.T, pattern string, env ...string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), exe, "-test.short", "-test.v", "-test.run="+pattern)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%v: %v\n%s", env, err, out)
	}
}

// The whole package's tests run without futex_waitv in CI; here the raw ones
// and those of cancelling do, for each way in which it can be refused.
func TestCase053WithoutWaitv(t *testing.T) {
	if fuzz.Without("futex_waitv") {
		t.Skip("without futex_waitv already")
	}
	for _, how := range []string{"futex_waitv", "futex_waitv:EPERM"} {
		again(t, "^TestCase0(42|43|44|45|47|48|49|50|51|52|56|57)|^TestBitset|^TestMutexCancel$", "RAWIPC_WITHOUT="+how)
	}
}

// Deadlines are of CLOCK_MONOTONIC: here it is a day ahead of the machine's.
// The wall clock can't be set in a test; see doc.go for what would happen.
func TestCase058TimeNamespace(t *testing.T) {
	fuzz.Apart{Clock: 24 * time.Hour}.Run(t, outlastsDeadlines)
}

func outlastsDeadlines(t *testing.T) {
	var w atomic.Uint32
	var m futex.Mutex
	m.Lock()
	s := newShared[clocked](t)
	c := s.Ptr()
	if err := errors.Join(c.Robust.Lock(), c.RW.Lock(), c.Mu.Lock()); err != nil {
		t.Fatal(err)
	}
	waits := map[string]func(context.Context) error{
		"Mutex.LockContext":       m.LockContext,
		"RobustMutex.LockContext": c.Robust.LockContext,
		"RWMutex.LockContext":     c.RW.LockContext,
		"RWMutex.RLockContext":    c.RW.RLockContext,
		"Semaphore.Acquire":       c.Sem.Acquire,
		"Cond.Wait":               func(ctx context.Context) error { return c.Cond.Wait(ctx, &c.Mu) },
	}
	const wait = 30 * time.Millisecond
	for range 5 {
		begin := time.Now()
		err := futex.WaitUntil(&w, 0, begin.Add(wait))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < wait || took > hang {
			t.Errorf("%v after %v, want %v", err, took, wait)
		}
		// A deadline by the wall clock alone is as far away.
		begin = time.Now()
		err = futex.WaitUntil(&w, 0, begin.Add(wait).Round(0))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < wait/2 || took > hang {
			t.Errorf("by the wall clock: %v after %v, want %v", err, took, wait)
		}
		var all sync.WaitGroup
		for name, f := range waits {
			all.Go(func() {
				begin := time.Now()
				ctx, cancel := context.WithTimeout(bg, wait)
				defer cancel()
				err := f(ctx)
				if took := time.Since(begin); err != context.DeadlineExceeded || took < wait || took > hang {
					t.Errorf("%s: %v after %v, want %v", name, err, took, wait)
				}
			})
		}
		all.Wait()
	}
	// A robust lock's waiter re-checks by the same clock.
	g := newShared[guarded](t)
	killedHolder(t, g)
	if err := g.Ptr().Mu.LockContext(within(t)); err != futex.ErrOwnerDead {
		t.Error(err)
	}
}

// clocked is what can be waited for until a time.
type clocked struct {
	Robust, Mu futex.RobustMutex
	RW         futex.RWMutex
	Sem        futex.Semaphore
	Cond       futex.Cond
}

// robustList is the kernel's struct robust_list_head.
type robustList struct {
	next, offset, pending uintptr
}

// A thread that has a list of its own, as all have in a program with C in it,
// keeps it: a waiter borrows one field of it.
func TestCase059ListIsBorrowed(t *testing.T) {
	s := newShared[guarded](t)
	m := &s.Ptr().Mu
	if err := m.Lock(); err != nil {
		t.Fatal(err)
	}
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	head := (*robustList)(unsafe.Pointer(unsafe.SliceData(page)))
	head.next = uintptr(unsafe.Pointer(head)) // empty
	head.offset = 24
	pending := (*atomic.Uintptr)(unsafe.Pointer(&head.pending))
	const before = 0 // what C had there
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			runtime.LockOSThread() // for good: the thread ends with its list
			for _, size := range []uintptr{0, 23, 25, 1 << 20} {
				if _, _, e := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(head)), size, 0); e != unix.EINVAL {
					return fmt.Errorf("a list of %d bytes: %v", size, e)
				}
			}
			if _, _, e := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(head)), unsafe.Sizeof(*head), 0); e != 0 {
				return e
			}
			futex.ForgetHeads()
			if err := m.LockContext(within(t)); err != nil {
				return err
			}
			defer m.Unlock()
			var now *robustList
			var size uintptr
			unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&now)), uintptr(unsafe.Pointer(&size)))
			if now != head || pending.Load() != before {
				return fmt.Errorf("the list is %p with %#x pending, want %p with %#x", now, pending.Load(), head, before)
			}
			return nil
		}()
	}()
	word := uintptr(unsafe.Pointer(m))
	if binaryBigEndian {
		word += 4
	}
	until(t, "the word named in the thread's own list", func() bool { return pending.Load()+24 == word })
	if err := m.Unlock(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

var binaryBigEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 0
}()
