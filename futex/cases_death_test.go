package futex_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

var holdEverything = proc.Register("holdEverything", holdAll)

// knot makes the process's own lists circular while it holds a lock.
var knot = as("tie the lists in a knot", func(ctx context.Context, a *arena) error {
	if err := a.Robust.LockContext(ctx); err != nil {
		return err
	}
	futex.TieGuardians()
	a.In.Add(1)
	<-ctx.Done()
	return nil
})

func TestCase084CircularList(t *testing.T) {
	s := newShared[arena](t)
	p := start(t, s, knot)
	until(t, "tied", func() bool { return s.Ptr().In.Load() == 1 })
	begin := time.Now()
	kill(t, p...)
	if err := s.Ptr().Robust.LockContext(within(t)); err != futex.ErrOwnerDead {
		t.Error(err)
	}
	t.Logf("dead and recovered after %v", time.Since(begin))
}

// headless lets its process's first thread end, and nothing else: In is 1 then, or 2
// if that thread can't be had, as the runtime has locked a goroutine of its own to it.
var headless = as("lose the first thread", func(ctx context.Context, a *arena) error {
	var end func(tries int)
	end = func(tries int) {
		runtime.LockOSThread() // or the first thread would take the next one, too
		if unix.Gettid() == unix.Getpid() {
			unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
		}
		if tries == 0 {
			a.In.Store(2)
		} else {
			go end(tries - 1)
		}
		<-ctx.Done()
	}
	go end(50)
	for ; a.In.Load() == 0; time.Sleep(time.Millisecond) {
		if firstThreadEnded(os.Getpid()) {
			a.In.Store(1)
		}
	}
	<-ctx.Done()
	return nil
})

func firstThreadEnded(pid int) bool {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.HasPrefix(rest, "Z")
}

// A process whose first thread has ended is a zombie by its state, and alive.
func TestPidJudgeOfAProcessWithoutItsFirstThread(t *testing.T) {
	s := newShared[arena](t)
	in := &s.Ptr().In
	p := start(t, s, headless)
	dead, err := futex.PidVerdict(p[0].Pid())
	for range 50 {
		if until(t, "without its first thread", func() bool { return in.Load() != 0 }); in.Load() == 1 {
			break
		}
		kill(t, p...)
		in.Store(0)
		p = start(t, s, headless)
		dead, err = futex.PidVerdict(p[0].Pid())
	}
	if err != nil {
		t.Fatal(err)
	}
	if !firstThreadEnded(p[0].Pid()) {
		t.Fatal("not a zombie by its state")
	}
	if dead() {
		t.Error("dead, as its first thread is")
	}
	kill(t, p...)
	if !dead() {
		t.Error("not dead after its end")
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	if dead, err = futex.PidVerdict(cmd.Process.Pid); err != nil || dead() {
		t.Errorf("%v, or dead while it lives", err)
	}
	cmd.Process.Kill()
	until(t, "dead while nobody has waited for it", dead)
}

// remapping is two segments that a child maps at one place in turn.
type remapping struct {
	Locks, Other *os.File
	Told         *shm.Shared[arena]
}

const remapSize = 4096

// remap unlocks with a sleeper behind, detaches, and maps another file at the
// same place, whose words hold what the kernel would take for its own mark: the
// number of the guardian's thread. Then it goes back.
var remap = proc.Register("remap", func(ctx context.Context, a remapping) error {
	told := a.Told.Ptr()
	place, err := unix.Mmap(int(a.Locks.Fd()), 0, remapSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	at := unsafe.Pointer(unsafe.SliceData(place))
	show := func(f *os.File) error {
		_, err := unix.MmapPtr(int(f.Fd()), 0, at, remapSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
		return err
	}
	for ctx.Err() == nil {
		if err := show(a.Locks); err != nil {
			return err
		}
		r, err := futex.Attach(place, a.Locks)
		if err != nil {
			return err
		}
		m, err := futex.At[futex.RobustMutex](place, 0)
		if err != nil {
			return err
		}
		if err := m.Lock(); err != nil && err != futex.ErrOwnerDead {
			return err
		}
		if err := m.MarkConsistent(); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
		words := unsafe.Slice((*uint32)(at), remapSize/4)
		low := 0
		if binaryBigEndian {
			low = 1
		}
		tid := words[low] &^ (1<<31 | 1<<30)
		var out sync.WaitGroup
		if rand.IntN(8) == 0 { // it is slower
			out.Go(func() {
				if m.Lock() == nil {
					m.Unlock()
				}
			})
			time.Sleep(20 * time.Microsecond)
		}
		if err := m.Unlock(); err != nil {
			return err
		}
		out.Wait()
		if err := r.Detach(); err != nil {
			return err
		}
		if err := show(a.Other); err != nil {
			return err
		}
		if told.Word.Swap(tid) != tid { // first turn
			for i := range words {
				words[i] = tid
			}
			told.In.Add(1)
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
		told.Plain++
	}
	return nil
})

// A process is killed around the time when it maps another file where its locks
// were: the kernel finds nothing of them to mark.
func TestCase085AnotherFileAtThePlace(t *testing.T) {
	told := newShared[arena](t)
	a := told.Ptr()
	locks, _ := mapFile(t, remapSize, remapSize)
	other, mem := mapFile(t, remapSize, remapSize)
	words := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(mem))), remapSize/4)
	kills := times(5, 60, 2000)
	for k := range int32(kills) {
		p, err := remap.Start(bg, remapping{locks, other, told})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "at work", func() bool { return a.In.Load() > k })
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		kill(t, p)
		a.In.Store(k + 1)
		tid := a.Word.Swap(0)
		for i, w := range words {
			if w != tid {
				t.Fatalf("kill %d: word %d of the other file is %#x, was %#x", k, i, w, tid)
			}
		}
	}
	t.Logf("%d kills in %d changes of the file", kills, a.Plain)
}

var elsewhere = proc.Register("elsewhere", func(ctx context.Context, f *os.File) error {
	err := new(shm.Shared[guarded]).TakeFiles([]*os.File{f})
	if !errors.Is(err, shm.ErrNamespace) {
		return errors.New("want shm.ErrNamespace, got " + errors.Join(errors.New("nothing"), err).Error())
	}
	return nil
})

// Thread numbers of two PID namespaces say nothing to each other. The child
// here is number 1 of its own. What knows its creator's namespace refuses; a
// lock in memory that the caller attached himself can't.
func TestCase087OtherPidNamespace(t *testing.T) {
	fuzz.Tool(t, "namespaces")
	s := newShared[guarded](t)
	files, err := s.PassFiles()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ptr().Mu.Lock(); err != nil {
		t.Fatal(err)
	}
	p, err := elsewhere.StartCmd(within(t), &proc.Cmd{Sys: &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}}, files[0])
	if err != nil {
		t.Fatal(err)
	}
	finish(t, p)
	if ok, err := s.Ptr().Mu.TryLock(); ok || err != nil {
		t.Errorf("still held: %v, %v", ok, err)
	}
	if err := s.Ptr().Mu.Unlock(); err != nil {
		t.Error(err)
	}
}

// parent holds the lock and has a child, which outlives it.
var parent = proc.Register("parent", func(ctx context.Context, s *shm.Shared[arena]) error {
	if err := s.Ptr().Robust.LockContext(ctx); err != nil {
		return err
	}
	if _, err := act.StartCmd(ctx, &proc.Cmd{Detach: true}, casting{orphan, s}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
})

var orphan = as("inherit nothing", func(ctx context.Context, a *arena) error {
	err := roles[foreignUnlock](ctx, a)
	if err == nil {
		a.In.Store(1)
		ctx, cancel := context.WithTimeout(bg, hang)
		defer cancel()
		if err = a.Robust.LockContext(ctx); errors.Is(err, futex.ErrOwnerDead) {
			a.Dead.Add(1)
			err = errors.Join(a.Robust.MarkConsistent(), a.Robust.Unlock())
		}
	}
	if err != nil {
		a.In.Store(-1)
	}
	a.Done.Store(1)
	return err
})

func TestCase088ChildOfTheOwner(t *testing.T) {
	s := newShared[arena](t)
	a := s.Ptr()
	for range times(1, 3, 100) {
		a.In.Store(0)
		a.Dead.Store(0)
		a.Done.Store(0)
		p, err := parent.Start(bg, s)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the child has tried", func() bool { return a.In.Load() != 0 })
		kill(t, p)
		until(t, "the child is through", func() bool { return a.Done.Load() == 1 })
		if a.In.Load() != 1 || a.Dead.Load() != 1 {
			t.Fatalf("the child: %d, %d deaths", a.In.Load(), a.Dead.Load())
		}
	}
}

const manyWorkers, theirLocks = 9, 100

type workshop struct {
	Locks [theirLocks]struct {
		Mu   futex.RobustMutex
		A, B int64
	}
	Begun atomic.Int32
}

// shift is many goroutines that use many locks in all ways.
var shift = proc.Register("shift", func(ctx context.Context, s *shm.Shared[workshop]) error {
	w := s.Ptr()
	errs := make(chan error, manyWorkers)
	for range manyWorkers {
		go func() {
			for n := 0; ; n++ {
				if n == 10 {
					w.Begun.Add(1)
				}
				l := &w.Locks[rand.IntN(theirLocks)]
				ok, err := true, error(nil)
				switch rand.IntN(3) {
				case 0:
					err = l.Mu.Lock()
				case 1:
					ok, err = l.Mu.TryLock()
				default:
					ctx, cancel := context.WithTimeout(bg, time.Duration(rand.IntN(100))*time.Microsecond)
					if err = l.Mu.LockContext(ctx); err == context.DeadlineExceeded {
						ok, err = false, nil
					}
					cancel()
				}
				if ok && err == nil {
					l.A++
					l.B++
					err = l.Mu.Unlock()
				}
				if err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
})

func TestCase089ManyWorkersDie(t *testing.T) {
	s := newShared[workshop](t)
	w := s.Ptr()
	rounds, deaths := times(3, 20, 1000), 0
	for range rounds {
		w.Begun.Store(0)
		p, err := shift.Start(bg, s)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "all at work", func() bool { return w.Begun.Load() >= manyWorkers })
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		kill(t, p)
		for i := range w.Locks {
			l := &w.Locks[i]
			switch err := l.Mu.LockContext(within(t)); {
			case errors.Is(err, futex.ErrOwnerDead):
				deaths++
				if l.A-l.B != 0 && l.A-l.B != 1 {
					t.Errorf("lock %d: %d and %d", i, l.A, l.B)
				}
				l.B = l.A
				if err := l.Mu.MarkConsistent(); err != nil {
					t.Error(err)
				}
			case err != nil:
				t.Fatalf("lock %d: %v", i, err)
			case l.A != l.B:
				t.Errorf("lock %d: %d and %d, and no word of a death", i, l.A, l.B)
			}
			if err := l.Mu.Unlock(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d kills, %d locks of the dead", rounds, deaths)
}
