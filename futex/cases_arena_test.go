package futex_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

var long = flag.Bool("long", false, "also run the forms of the tests that take minutes")

// times is how often a test goes round: seldom in -short, often in -long.
func times(short, usual, many int) int {
	switch {
	case testing.Short():
		return short
	case *long:
		return many
	}
	return usual
}

// arena is one of each primitive, for several processes.
type arena struct {
	Word   atomic.Uint32
	Mutex  futex.Mutex
	Robust futex.RobustMutex
	Sem    futex.Semaphore
	Event  futex.Event
	Bar    [2]futex.Barrier

	Go             atomic.Uint32 // told to the actors
	In             atomic.Int32  // told by the actors
	Dead           atomic.Int32  // times that ErrOwnerDead was returned
	Done           atomic.Int64
	Plain, Guarded int64
}

// act is a child process that plays a role in an arena.
type casting struct {
	Role  string
	Arena *shm.Shared[arena]
}

type role func(ctx context.Context, a *arena) error

var roles = map[string]role{}

func as(name string, r role) string {
	if roles[name] != nil {
		panic("two roles " + name)
	}
	roles[name] = r
	return name
}

var act = proc.Register("act", func(ctx context.Context, c casting) error {
	r := roles[c.Role]
	if r == nil {
		return fmt.Errorf("no role %q", c.Role)
	}
	return r(ctx, c.Arena.Ptr())
})

// start starts a process for each role. Those that still run when the test
// ends are killed.
func start(t testing.TB, s *shm.Shared[arena], names ...string) (actors []*proc.Process) {
	t.Helper()
	for _, name := range names {
		p, err := act.Start(bg, casting{name, s})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() {
			p.Kill()
			p.Wait(bg)
		})
		actors = append(actors, p)
	}
	return actors
}

// finish waits for the ends of actors that end by themselves.
func finish(t testing.TB, actors ...*proc.Process) {
	t.Helper()
	for _, p := range actors {
		if _, err := p.Wait(within(t)); err != nil {
			t.Errorf("%s: %v", p.Name(), err)
		}
	}
}

func kill(t testing.TB, actors ...*proc.Process) {
	t.Helper()
	for _, p := range actors {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		if _, err := p.Wait(within(t)); err == nil {
			t.Errorf("%s ended before it was killed", p.Name())
		}
	}
}

// sleepers lists the threads of a process that sleep on shared futex words,
// by what /proc says of their system calls. The runtime's own sleep on private
// ones.
func sleepers(pid int) (tids []string) {
	const waitBitset, private = "0x9", "0x80"
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, name := range tasks {
		text, err := os.ReadFile(name)
		f := bytes.Fields(text)
		if err != nil || len(f) < 4 {
			continue
		}
		nr := string(f[0])
		if nr == fmt.Sprint(unix.SYS_FUTEX_WAITV) || nr == fmt.Sprint(unix.SYS_FUTEX) && string(f[2]) == waitBitset {
			tids = append(tids, filepath.Base(filepath.Dir(name)))
		}
	}
	return tids
}

// untilAsleep waits until each of the actors has a thread asleep on a word.
func untilAsleep(t testing.TB, actors ...*proc.Process) {
	t.Helper()
	for _, p := range actors {
		until(t, "asleep: "+p.Name(), func() bool { return len(sleepers(p.Pid())) > 0 })
	}
}

// field is one line of /proc/PID/status or the like.
func field(t testing.TB, file, name string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("%s: no %s", file, name)
	return ""
}

// briefly is a context for what should not come.
func briefly() (context.Context, context.CancelFunc) {
	return context.WithTimeout(bg, 20*time.Millisecond)
}

func mapFile(t testing.TB, size, mapped int) (*os.File, []byte) {
	t.Helper()
	fd, err := unix.MemfdCreate("cases", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "cases")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, mapped, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return f, mem
}
