package mq_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// notified calls Notify and returns when it is registered.
func notified(t testing.TB, ctx context.Context, q *mq.Queue) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- q.Notify(ctx) }()
	until(t, "registration", func() bool { return registered(t, q) == os.Getpid() })
	return done
}

func result(t testing.TB, what string, done chan error) (err error) {
	t.Helper()
	within(t, what, func() { err = <-done })
	return err
}

func TestCase199_OncePerRegistration(t *testing.T) {
	q, _ := fresh(t, small(3))
	buf := make([]byte, 64)
	for round := range 5 {
		done := notified(t, bg, q)
		must(t, q.Send(bg, []byte("m"), 0))
		must(t, result(t, "Notify", done))
		if pid := registered(t, q); pid != 0 {
			t.Fatalf("round %d: %d is still registered", round, pid)
		}
		must(t, q.Send(bg, []byte("m"), 0)) // nobody hears this one
		// With messages there, it returns at once, and registers nothing.
		within(t, "Notify", func() { must(t, q.Notify(bg)) })
		if pid := registered(t, q); pid != 0 {
			t.Fatalf("round %d: %d is registered", round, pid)
		}
		for range 2 {
			if _, _, ok, err := q.TryRecv(buf); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	over, cancel := context.WithDeadline(bg, time.Now().Add(-time.Second))
	defer cancel()
	wantErr(t, "no message, deadline over", q.Notify(over), context.DeadlineExceeded)
	must(t, q.Send(bg, nil, 0))
	must(t, q.Notify(over))
	ended, cancel := context.WithCancel(bg)
	cancel()
	wantErr(t, "cancelled before", q.Notify(ended), context.Canceled)
	must(t, q.Close())
	wantErr(t, "closed", q.Notify(bg), os.ErrClosed)
	wantErr(t, "zero Queue", new(mq.Queue).Notify(bg), os.ErrInvalid)
}

// busy expects that another has registered.
var busy = proc.Register("mq-busy", func(ctx context.Context, name string) error {
	q, err := mq.Open(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer q.Close()
	return wants(q.Notify(ctx), unix.EBUSY)
})

func TestCase199_OneRegistrant(t *testing.T) {
	q, name := fresh(t, small(1))
	q2, err := mq.Open(name, os.O_WRONLY)
	must(t, err)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	done := notified(t, ctx, q)
	inChild(t, busy, name, nil)
	wantErr(t, "another descriptor", q2.Notify(bg), unix.EBUSY)
	wantErr(t, "same descriptor", q.Notify(bg), unix.EBUSY)
	// Closing any descriptor of the queue takes the registration away; it
	// comes back.
	for range 20 {
		must(t, q2.Close())
		until(t, "registration", func() bool { return registered(t, q) == os.Getpid() })
		q2, err = mq.Open(name, os.O_WRONLY)
		must(t, err)
	}
	must(t, q2.Send(bg, nil, 0))
	must(t, result(t, "Notify", done))
	_, _, err = q.Recv(bg, make([]byte, 64))
	must(t, err)
	done = notified(t, ctx, q)
	cancel()
	wantErr(t, "cancelled", result(t, "Notify", done), context.Canceled)
	if pid := registered(t, q); pid != 0 {
		t.Errorf("%d is still registered", pid)
	}
	must(t, q2.Close())
}

// One that is blocked in the kernel, as C programs are, gets the message, and
// the registration stays.
func TestCase199_BlockedReceiverWins(t *testing.T) {
	q, name := fresh(t, small(2))
	blocking, err := mq.Open(name, os.O_RDONLY)
	must(t, err)
	defer blocking.Close()
	fd := rawFD(t, blocking)
	must(t, rawSetAttr(fd, &rawAttr{}))
	done := notified(t, bg, q)
	tid, got := make(chan int, 1), make(chan string, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		buf := make([]byte, 64)
		n, err := rawReceive(fd, buf)
		got <- fmt.Sprint(string(buf[:n]), " ", err)
	}()
	asleep(t, os.Getpid(), <-tid, unix.SYS_MQ_TIMEDRECEIVE)
	must(t, q.Send(bg, []byte("first"), 0))
	within(t, "mq_receive", func() {
		if text := <-got; text != "first <nil>" {
			t.Errorf("received %s", text)
		}
	})
	if pid := registered(t, q); pid != os.Getpid() {
		t.Errorf("%d is registered", pid)
	}
	must(t, q.Send(bg, []byte("second"), 0))
	must(t, result(t, "Notify", done))
}

func TestCase199_CloseRemoves(t *testing.T) {
	q, name := fresh(t, small(1))
	q2, err := mq.Open(name, os.O_RDWR)
	must(t, err)
	defer q2.Close()
	done := notified(t, bg, q)
	must(t, q.Close())
	wantErr(t, "closed", result(t, "Notify", done), os.ErrClosed)
	if pid := registered(t, q2); pid != 0 {
		t.Errorf("%d is still registered", pid)
	}
}

// waits is registered until it is killed.
var waits = proc.Register("mq-waits", func(ctx context.Context, name string) error {
	q, err := mq.Open(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer q.Close()
	return q.Notify(ctx)
})

func TestCase199_DeathRemoves(t *testing.T) {
	q, name := fresh(t, small(1))
	for range 3 {
		p := start(t, waits, nil, name)
		until(t, "registration", func() bool { return registered(t, q) == p.Pid() })
		wantErr(t, "beside a child", q.Notify(bg), unix.EBUSY)
		must(t, p.Kill())
		p.Wait(bg)
		done := notified(t, bg, q)
		must(t, q.Send(bg, nil, 0))
		must(t, result(t, "Notify", done))
		_, _, err := q.Recv(bg, make([]byte, 64))
		must(t, err)
	}
}

// What the kernel refuses changes nothing for others; no registration is no
// error.
func TestCase200_BadRegistrations(t *testing.T) {
	q, _ := fresh(t, small(1))
	fd := rawFD(t, q)
	must(t, rawNotify(fd, nil))
	const sigevSignal, sigevNone = 0, 1
	for _, e := range []rawSigevent{
		{notify: 99}, {notify: -1}, {notify: sigevSignal, signo: -1}, {notify: sigevSignal, signo: 1000},
	} {
		wantErr(t, fmt.Sprintf("%+v", e), rawNotify(fd, &e), unix.EINVAL)
	}
	must(t, rawNotify(fd, &rawSigevent{notify: sigevNone}))
	wantErr(t, "beside that", q.Notify(bg), unix.EBUSY)
	must(t, rawNotify(fd, nil))
	done := notified(t, bg, q)
	for range 10 {
		must(t, rawNotify(fd, nil)) // somebody in this process; it comes back
		until(t, "registration", func() bool { return registered(t, q) == os.Getpid() })
	}
	must(t, q.Send(bg, nil, 0))
	must(t, result(t, "Notify", done))
}

// A message and the end of the context at once, 1,000 times: it is one of both,
// no message is lost, and nothing is left.
func TestCase200_Races(t *testing.T) {
	fuzz.Leaks(t)
	q, _ := fresh(t, small(1))
	buf := make([]byte, 64)
	ends := map[error]int{}
	warm := fuzz.Hold()
	for i := range times(300, 1000, 10_000) {
		if i == 100 {
			warm = fuzz.Hold()
		}
		ctx, cancel := context.WithCancel(bg)
		done := make(chan error, 1)
		go func() { done <- q.Notify(ctx) }()
		if i%2 == 0 {
			until(t, "registration", func() bool { return registered(t, q) != 0 })
		}
		sent := make(chan error, 1)
		if i%3 != 0 {
			go cancel()
		}
		go func() { sent <- q.Send(bg, nil, 0) }()
		err := result(t, "Notify", done)
		if err != nil {
			wantErr(t, "Notify", err, context.Canceled)
		}
		ends[err]++
		must(t, result(t, "Send", sent))
		if _, _, ok, err := q.TryRecv(buf); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if pid := registered(t, q); pid != 0 {
			t.Fatalf("round %d, which ended with %v: %d is still registered", i, err, pid)
		}
		cancel()
	}
	t.Logf("%d messages, %d cancelled", ends[nil], ends[context.Canceled])
	if ends[nil] < times(100, 333, 3333) {
		t.Errorf("only %d rounds saw the message", ends[nil])
	}
	now := fuzz.Hold()
	if now.Threads > warm.Threads+4 {
		t.Errorf("%d threads, before %d", now.Threads, warm.Threads)
	}
	until(t, "end of goroutines", func() bool { return runtime.NumGoroutine() <= warm.Goroutines })
}

// Notify and TryRecv in turn miss nothing, however messages come.
func TestNotifyLosesNothing(t *testing.T) {
	q, _ := fresh(t, small(2))
	const count = 2000
	go func() {
		for i := range count {
			if q.Send(bg, []byte{byte(i)}, 0) != nil {
				return
			}
			if i%50 == 0 {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	within(t, "Notify and TryRecv", func() {
		buf := make([]byte, 64)
		for got := 0; got < count; {
			if err := q.Notify(bg); err != nil {
				t.Error(err)
				return
			}
			for {
				_, _, ok, err := q.TryRecv(buf)
				if err != nil || ok && buf[0] != byte(got) {
					t.Error(got, buf[0], err)
					return
				}
				if !ok {
					break
				}
				got++
			}
		}
	})
}
