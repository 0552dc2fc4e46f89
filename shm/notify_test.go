package shm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// readable polls for up to d and says which of the descriptors can be read.
func readable(d time.Duration, fds ...uintptr) (which []bool, err error) {
	set := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		set[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	for end := time.Now().Add(d); ; {
		_, err = unix.Poll(set, int(max(time.Until(end), 0).Milliseconds()))
		if err != unix.EINTR {
			break
		}
	}
	for _, p := range set {
		which = append(which, p.Revents&unix.POLLIN != 0)
	}
	return which, err
}

// becomesReadable waits for a notifier.
func becomesReadable(n *shm.Notifier) error {
	if which, err := readable(hang, n.Fd()); err != nil || !which[0] {
		return fmt.Errorf("the notifier does not become readable: %v", err)
	}
	return nil
}

func unread(t *testing.T, what string, n *shm.Notifier) {
	t.Helper()
	if which, err := readable(0, n.Fd()); err != nil || which[0] {
		t.Fatalf("%s: readable %t, %v", what, which[0], err)
	}
}

// bytesQueue is any of the queues.
type bytesQueue interface {
	Send(context.Context, []byte) error
	TryRecv() ([]byte, bool, error)
	Notify() (*shm.Notifier, error)
	CloseSend() error
	Close() error
}

type letters struct{ *shm.Queue[[8]byte] }

func (q letters) Send(ctx context.Context, b []byte) error { return q.Queue.Send(ctx, [8]byte(b)) }
func (q letters) TryRecv() ([]byte, bool, error) {
	b, ok, err := q.Queue.TryRecv()
	return b[:], ok, err
}

type messages struct{ *shm.MessageQueue }

func (q messages) TryRecv() ([]byte, bool, error) {
	buf := make([]byte, 100)
	n, ok, err := q.MessageQueue.TryRecv(buf)
	return buf[:n], ok, err
}

// anyQueue is how one of them gets to a child.
type anyQueue struct {
	Slots    *shm.Queue[[8]byte]
	Messages *shm.MessageQueue
	Objects  *shm.ObjectQueue[[]byte]
}

func (a anyQueue) queue() bytesQueue {
	switch {
	case a.Slots != nil:
		return letters{a.Slots}
	case a.Messages != nil:
		return messages{a.Messages}
	}
	return a.Objects
}

type burstArgs struct {
	To     anyQueue
	Bursts *shm.Queue[int] // of how many messages
}

var burst = proc.Register("shm_test/burst", func(ctx context.Context, a burstArgs) error {
	q := a.To.queue()
	defer q.Close()
	defer a.Bursts.Close()
	for n, err := range a.Bursts.All(ctx) {
		if err != nil {
			return err
		}
		for range n {
			if err := q.Send(ctx, []byte("a letter")); err != nil {
				return err
			}
		}
	}
	return q.CloseSend()
})

func ok[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Each arming makes the descriptor readable once, for messages of another
// process as for the end of the stream.
func TestNotifyOncePerArming(t *testing.T) {
	for name, a := range map[string]anyQueue{
		"Queue":        {Slots: ok[*shm.Queue[[8]byte]](t)(shm.NewQueue[[8]byte](16))},
		"MessageQueue": {Messages: ok[*shm.MessageQueue](t)(shm.NewMessageQueue(1024))},
		"ObjectQueue":  {Objects: ok[*shm.ObjectQueue[[]byte]](t)(shm.NewObjectQueue[[]byte](1024, ""))},
	} {
		t.Run(name, func(t *testing.T) {
			q := a.queue()
			defer q.Close()
			bursts := newQueue[int](t, 4)
			p := started(t)(burst.Start(watchdog(t, hang), burstArgs{a, bursts}))
			n := ok[*shm.Notifier](t)(q.Notify())
			defer n.Close()
			for i := range 50 {
				unread(t, "armed, and nothing there", n)
				left := 1 + i%5
				if err := bursts.Send(bg, left); err != nil {
					t.Fatal(err)
				}
				for end := time.Now().Add(hang); left > 0 && time.Now().Before(end); {
					if err := becomesReadable(n); err != nil {
						t.Fatal(err)
					}
					var count [8]byte
					if _, err := unix.Read(int(n.Fd()), count[:]); err != nil || binary.NativeEndian.Uint64(count[:]) != 1 {
						t.Fatalf("told %d times: %v", count, err)
					}
					for {
						msg, ok, err := q.TryRecv()
						if err != nil || ok && string(msg) != "a letter" {
							t.Fatal(string(msg), err)
						}
						if !ok {
							break
						}
						left--
					}
					unread(t, "not armed", n)
					for range 2 {
						if err := n.Arm(); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if err := bursts.CloseSend(); err != nil {
				t.Fatal(err)
			}
			for range 3 { // the end stays the end
				if err := becomesReadable(n); err != nil {
					t.Fatal(err)
				}
				if _, _, err := q.TryRecv(); err != io.EOF {
					t.Fatalf("TryRecv: %v, want EOF", err)
				}
				if err := n.Arm(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.Wait(watchdog(t, hang)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNotifyBesidePipe(t *testing.T) {
	q := newQueue[int](t, 4)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	n := ok[*shm.Notifier](t)(q.Notify())
	defer n.Close()
	fds := []uintptr{n.Fd(), r.Fd()}
	look := func(d time.Duration, wantQueue, wantPipe bool) {
		t.Helper()
		if which, err := readable(d, fds...); err != nil || which[0] != wantQueue || which[1] != wantPipe {
			t.Fatalf("readable: %t, %v, want %t, %t", which, err, wantQueue, wantPipe)
		}
	}
	look(20*time.Millisecond, false, false)
	time.AfterFunc(5*time.Millisecond, func() { w.Write([]byte{1}) })
	look(hang, false, true)
	if err := errors.Join(q.Send(bg, 1), becomesReadable(n)); err != nil {
		t.Fatal(err)
	}
	look(0, true, true)
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	look(0, true, false)
	// Armed with the message still there: readable at once.
	if err := n.Arm(); err != nil {
		t.Fatal(err)
	}
	look(0, true, false)
	if v, ok, err := q.TryRecv(); v != 1 || !ok || err != nil {
		t.Fatal(v, ok, err)
	}
	if err := n.Arm(); err != nil {
		t.Fatal(err)
	}
	look(20*time.Millisecond, false, false)
	sent := make(chan struct{})
	time.AfterFunc(5*time.Millisecond, func() { q.TrySend(2); close(sent) })
	look(hang, true, false)
	<-sent // Close would find it under way
}

// Go's own poller can wait for it as well.
func TestNotifyInPoller(t *testing.T) {
	q := newQueue[int](t, 4)
	n := ok[*shm.Notifier](t)(q.Notify())
	conn, err := n.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	wait := func() error {
		return conn.Read(func(fd uintptr) bool {
			_, err := unix.Read(int(fd), make([]byte, 8))
			return err != unix.EAGAIN
		})
	}
	sent := make(chan struct{})
	time.AfterFunc(10*time.Millisecond, func() { q.TrySend(1); close(sent) })
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	<-sent
	time.AfterFunc(10*time.Millisecond, func() { n.Close() })
	if err := wait(); err == nil {
		t.Error("Close: readable")
	}
}

type armedArgs struct {
	Queue *shm.Queue[int]
	Up    *shm.Queue[int]
}

// armed has a notifier, and says when it is told.
var armed = proc.Register("shm_test/armed", func(ctx context.Context, a armedArgs) error {
	n, err := a.Queue.Notify()
	if err != nil {
		return err
	}
	defer a.Up.Close()
	defer a.Queue.Close()
	defer n.Close()
	for !a.Queue.Armed() {
		time.Sleep(time.Millisecond)
	}
	if err := a.Up.Send(ctx, 1); err != nil {
		return err
	}
	if err := becomesReadable(n); err != nil {
		return err
	}
	return a.Up.Send(ctx, 2)
})

// One process's notifier, killed while it sleeps for all, leaves the others'
// whole; and those of several processes are all told.
func TestNotifyKilled(t *testing.T) {
	ctx := watchdog(t, hang)
	q, up := newQueue[int](t, 4), newQueue[int](t, 4)
	p := started(t)(armed.Start(ctx, armedArgs{q, up}))
	if _, err := up.Recv(ctx); err != nil {
		t.Fatal(err)
	}
	n := ok[*shm.Notifier](t)(q.Notify()) // waits behind p's
	defer n.Close()
	time.Sleep(20 * time.Millisecond)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait(ctx)
	unread(t, "after a death", n)
	second := started(t)(armed.Start(ctx, armedArgs{q, up}))
	if _, err := up.Recv(ctx); err != nil {
		t.Fatal(err)
	}
	unread(t, "after another came", n)
	if err := errors.Join(q.Send(ctx, 1), becomesReadable(n)); err != nil {
		t.Fatal(err)
	}
	if v, err := up.Recv(ctx); v != 2 || err != nil {
		t.Fatal(v, err)
	}
	if _, err := second.Wait(ctx); err != nil {
		t.Error(err)
	}
}

// Neither Close leaves a goroutine, in either order, armed or told.
func TestNotifyClose(t *testing.T) {
	for i := range 8 {
		q := ok[*shm.Queue[int]](t)(shm.NewQueue[int](4))
		n, m := ok[*shm.Notifier](t)(q.Notify()), ok[*shm.Notifier](t)(q.Notify())
		if i&1 != 0 {
			if err := errors.Join(q.Send(bg, 1), becomesReadable(n), becomesReadable(m)); err != nil {
				t.Fatal(err)
			}
		}
		if i&2 != 0 {
			time.Sleep(5 * time.Millisecond) // asleep
		}
		if i&4 != 0 {
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if err := n.Arm(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Arm after Close: %v", err)
			}
			if fd := n.Fd(); fd != ^uintptr(0) {
				t.Errorf("Fd after Close: %d", fd)
			}
		}
		if err := errors.Join(q.Close(), becomesReadable(m)); err != nil {
			t.Fatal(err)
		}
		if err := m.Arm(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Arm after the queue's Close: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if i&4 == 0 {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := n.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if n, err := q.Notify(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Notify after Close: %v, %v", n, err)
		}
	}
	for end := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !bytes.Contains(stacks, []byte("Notifier).watch")) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a notifier's goroutine is left:\n%s", stacks)
		}
	}
}
