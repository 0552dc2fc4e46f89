package pipe_test

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

var bg = context.Background()

// hang is when a test is taken to hang: far above what anything here needs.
const hang = 20 * time.Second

// kinds are the constructors, as (sender, receiver).
var kinds = []struct {
	name string
	open func() (s, r *pipe.Conn, err error)
}{
	{"Pair", pipe.Pair},
	{"PacketPair", pipe.PacketPair},
	{"OneWay", func() (s, r *pipe.Conn, err error) { r, s, err = pipe.OneWay(); return }},
}

// forKinds runs f for each of the named kinds, or for all.
func forKinds(t *testing.T, f func(t *testing.T, s, r *pipe.Conn), names ...string) {
	for _, k := range kinds {
		wanted := len(names) == 0
		for _, n := range names {
			wanted = wanted || n == k.name
		}
		if wanted {
			t.Run(k.name, func(t *testing.T) {
				s, r, err := k.open()
				must(t, err)
				closeAfter(t, s, r)
				f(t, s, r)
			})
		}
	}
}

// closeAfter closes conns when the test ends and fails it if it then has other
// descriptors open than before the conns.
func closeAfter(t testing.TB, conns ...*pipe.Conn) {
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
}

func fdCount(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}

// filesOpen is fdCount without the epoll instances, of which a Conn gets one for
// each direction when somebody first has to wait there.
func filesOpen(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	n := 0
	for _, name := range names {
		if to, err := os.Readlink("/proc/self/fd/" + name.Name()); err == nil && to != "anon_inode:[eventpoll]" {
			n++
		}
	}
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error is %v, want %v", what, err, want)
	}
}

// within runs f under a watchdog.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	await(t, what, done)
}

func await(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(hang):
		debug.SetTraceback("all")
		panic(what + " hangs") // prints every goroutine
	}
}

// all waits for goroutines of a test.
func all(t testing.TB, what string, wg *sync.WaitGroup) {
	t.Helper()
	within(t, what, wg.Wait)
}

// rawFD returns the descriptor of a Conn, to break the rules with.
func rawFD(t testing.TB, c syscall.Conn) int {
	t.Helper()
	rc, err := c.SyscallConn()
	must(t, err)
	n := -1
	must(t, rc.Control(func(fd uintptr) { n = int(fd) }))
	return n
}

// rawWrite writes bytes past the frames.
func rawWrite(t testing.TB, c *pipe.Conn, b []byte) {
	t.Helper()
	if n, err := unix.Write(rawFD(t, c), b); err != nil || n != len(b) {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// untilMoved calls f with a short deadline, and then with later ones, until it says
// that something moved: on a busy machine the time may be over before it begins.
func untilMoved(t testing.TB, what string, f func(ctx context.Context) bool) {
	t.Helper()
	for d := 10 * time.Millisecond; ; d *= 2 {
		ctx, cancel := context.WithTimeout(bg, d)
		moved := f(ctx)
		cancel()
		if moved {
			return
		}
		if d > hang/2 {
			t.Fatalf("%s: nothing moves within %v", what, d)
		}
	}
}

// blocked gives goroutines time to get into a wait. Nothing depends on its
// being long enough, but a test that wants them there sees more.
func blocked() {
	if testing.Short() {
		time.Sleep(8 * time.Millisecond)
		return
	}
	time.Sleep(20 * time.Millisecond)
}
