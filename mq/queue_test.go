package mq_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/signal"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/mq"
	"golang.org/x/sys/unix"
)

func TestCase185_RoundTrip(t *testing.T) {
	q, name := fresh(t, nil)
	st, err := q.Stat()
	must(t, err)
	p, err := mq.Open(name, os.O_RDWR)
	must(t, err)
	defer p.Close()
	buf := make([]byte, st.MessageSize)
	for _, size := range []int{0, 1, st.MessageSize} {
		for _, prio := range []uint{0, 1, 32767} {
			msg := bytes.Repeat([]byte{byte(prio), 7}, size/2+1)[:size]
			must(t, q.Send(bg, msg, prio))
			n, got, err := p.Recv(bg, buf)
			if err != nil || got != prio || !bytes.Equal(buf[:n], msg) {
				t.Errorf("size %d, priority %d: %d, %d, %v", size, prio, n, got, err)
			}
		}
	}
}

func TestCase186_PriorityRange(t *testing.T) {
	q, _ := fresh(t, small(1))
	wide := uint64(1 << 32) // 0, once it is a C unsigned
	for _, prio := range []uint{32768, 1 << 31, ^uint(0), max(32768, uint(wide))} {
		err := q.Send(bg, nil, prio)
		wantErr(t, "Send", err, unix.EINVAL)
		if !strings.Contains(err.Error(), "at most 32767") {
			t.Error(err)
		}
		_, err = q.TrySend(nil, prio)
		wantErr(t, "TrySend", err, unix.EINVAL)
	}
	if st, err := q.Stat(); err != nil || st.Messages != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestCase188_Sizes(t *testing.T) {
	q, _ := fresh(t, small(2))
	wantErr(t, "large message", q.Send(bg, make([]byte, 65), 0), unix.EMSGSIZE)
	if st, _ := q.Stat(); st.Messages != 0 {
		t.Errorf("%d messages", st.Messages)
	}
	must(t, q.Send(bg, []byte("m"), 3))
	for _, size := range []int{0, 1, 63} {
		_, _, err := q.Recv(bg, make([]byte, size))
		wantErr(t, "small buffer", err, unix.EMSGSIZE)
		_, _, _, err = q.TryRecv(make([]byte, size))
		wantErr(t, "small buffer", err, unix.EMSGSIZE)
	}
	if st, _ := q.Stat(); st.Messages != 1 {
		t.Errorf("%d messages", st.Messages)
	}
}

func TestCase189_Full(t *testing.T) {
	q, _ := fresh(t, small(2))
	over, cancel := context.WithDeadline(bg, time.Now().Add(-time.Second))
	defer cancel()
	must(t, q.Send(over, []byte("1"), 0)) // room: the deadline doesn't matter
	if ok, err := q.TrySend([]byte("2"), 0); !ok || err != nil {
		t.Fatalf("TrySend with room: %v, %v", ok, err)
	}
	if ok, err := q.TrySend([]byte("3"), 0); ok || err != nil {
		t.Fatalf("TrySend without room: %v, %v", ok, err)
	}
	wantErr(t, "Send, no room, deadline over", q.Send(over, []byte("3"), 0), context.DeadlineExceeded)
	start := time.Now()
	ctx, cancel := context.WithTimeout(bg, 30*time.Millisecond)
	defer cancel()
	var err error
	within(t, "Send", func() { err = q.Send(ctx, []byte("3"), 0) })
	wantErr(t, "Send, no room", err, context.DeadlineExceeded)
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("ended after %v", d)
	}
	must(t, q.SetWriteDeadline(time.Now().Add(10*time.Millisecond)))
	within(t, "Send", func() { err = q.Send(bg, []byte("3"), 0) })
	wantErr(t, "Send with a deadline set", err, os.ErrDeadlineExceeded)
	must(t, q.SetWriteDeadline(time.Time{}))
	done := make(chan error, 1)
	go func() { done <- q.Send(bg, []byte("3"), 0) }()
	blocked()
	for _, want := range "123" {
		buf := make([]byte, 64)
		within(t, "Recv", func() { _, _, err = q.Recv(bg, buf) })
		if err != nil || buf[0] != byte(want) {
			t.Errorf("got %q, %v", buf[:1], err)
		}
	}
	within(t, "Send", func() { err = <-done })
	must(t, err)
	cancelled, cancel := context.WithCancel(bg)
	cancel()
	wantErr(t, "cancelled before", q.Send(cancelled, nil, 0), context.Canceled)
}

func TestCase190_Empty(t *testing.T) {
	q, _ := fresh(t, small(2))
	buf := make([]byte, 64)
	over, cancel := context.WithDeadline(bg, time.Now().Add(-time.Second))
	defer cancel()
	_, _, err := q.Recv(over, buf)
	wantErr(t, "Recv, nothing, deadline over", err, context.DeadlineExceeded)
	if _, _, ok, err := q.TryRecv(buf); ok || err != nil {
		t.Errorf("TryRecv: %v, %v", ok, err)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(bg, 30*time.Millisecond)
	defer cancel()
	within(t, "Recv", func() { _, _, err = q.Recv(ctx, buf) })
	wantErr(t, "Recv, nothing", err, context.DeadlineExceeded)
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("ended after %v", d)
	}
	must(t, q.Send(bg, []byte("m"), 9))
	n, prio, err := q.Recv(over, buf)
	if n != 1 || prio != 9 || err != nil {
		t.Errorf("%d, %d, %v", n, prio, err)
	}
	must(t, q.Send(bg, []byte("m"), 9))
	n, prio, ok, err := q.TryRecv(buf)
	if n != 1 || prio != 9 || !ok || err != nil {
		t.Errorf("TryRecv: %d, %d, %v, %v", n, prio, ok, err)
	}
	// TryRecv must not wait behind one that is blocked.
	ctx, cancel = context.WithCancel(bg)
	done := make(chan struct{})
	go func() { defer close(done); q.Recv(ctx, make([]byte, 64)) }()
	blocked()
	within(t, "TryRecv beside a blocked Recv", func() { _, _, ok, err = q.TryRecv(buf) })
	if ok || err != nil {
		t.Errorf("TryRecv: %v, %v", ok, err)
	}
	cancel()
	<-done
}

func TestCase191_Signals(t *testing.T) {
	count := times(5_000, 20_000, 100_000)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGUSR1)
	defer signal.Stop(ch)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				fuzz.Poke(os.Getpid(), unix.SIGUSR1)
			case <-stop:
				return
			}
		}
	})
	q, _ := fresh(t, small(3))
	go func() {
		for i := range count {
			q.Send(bg, binary.LittleEndian.AppendUint32(nil, uint32(i)), 0)
		}
	}()
	within(t, "many messages", func() {
		buf := make([]byte, 64)
		for i := range count {
			n, _, err := q.Recv(bg, buf)
			if n != 4 || err != nil || binary.LittleEndian.Uint32(buf) != uint32(i) {
				t.Errorf("message %d: % x, %v", i, buf[:n], err)
				return
			}
		}
	})
	// Nor does anybody who opens a queue see one.
	for range 200 {
		name := freshName()
		q, err := mq.Create(name, small(1))
		must(t, err)
		again, err := mq.Open(name, os.O_RDONLY)
		if err = errors.Join(err, mq.Unlink(name), q.Close()); err == nil {
			err = again.Close()
		}
		must(t, err)
	}
	close(stop)
	wg.Wait()
}

func TestCase192_WrongDirectionAndClosed(t *testing.T) {
	_, name := fresh(t, small(2))
	r, err := mq.Open(name, os.O_RDONLY)
	must(t, err)
	w, err := mq.Open(name, os.O_WRONLY)
	must(t, err)
	buf := make([]byte, 64)
	err = r.Send(bg, nil, 0)
	if wantErr(t, "Send", err, unix.EBADF); !strings.Contains(err.Error(), "open for receiving only: mq_timedsend: ") {
		t.Error(err)
	}
	_, _, err = w.Recv(bg, buf)
	if wantErr(t, "Recv", err, unix.EBADF); !strings.Contains(err.Error(), "open for sending only: mq_timedreceive: ") {
		t.Error(err)
	}
	must(t, w.Send(bg, nil, 0))
	_, _, err = r.Recv(bg, buf)
	must(t, err)

	// Close ends those who wait: one in the poller, the others in line.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, _, err := r.Recv(bg, make([]byte, 64)); !errors.Is(err, os.ErrClosed) {
				t.Errorf("blocked Recv: %v", err)
			}
		})
	}
	blocked()
	must(t, r.Close())
	within(t, "blocked Recv", wg.Wait)
	for range 4 {
		wg.Go(func() {
			var err error
			for err == nil {
				err = w.Send(bg, []byte("fill"), 0)
			}
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("blocked Send: %v", err)
			}
		})
	}
	blocked()
	must(t, w.Close())
	within(t, "blocked Send", wg.Wait)
	for _, q := range []*mq.Queue{r, w} {
		errs := map[string]error{"Send": q.Send(bg, nil, 0), "Close": q.Close(), "SetDeadline": q.SetDeadline(time.Time{})}
		_, _, errs["Recv"] = q.Recv(bg, buf)
		_, _, _, errs["TryRecv"] = q.TryRecv(buf)
		_, errs["TrySend"] = q.TrySend(nil, 0)
		_, errs["Stat"] = q.Stat()
		_, errs["SyscallConn"] = q.SyscallConn()
		_, errs["PassFiles"] = q.PassFiles()
		for what, err := range errs {
			wantErr(t, what, err, os.ErrClosed)
		}
	}
	var zero mq.Queue
	wantErr(t, "zero Queue", zero.Send(bg, nil, 0), os.ErrInvalid)
	wantErr(t, "zero Queue", zero.Close(), os.ErrInvalid)
}

func TestCase198_Stat(t *testing.T) {
	fixed := mq.Stat{MaxMessages: 5, MessageSize: 100}

	q, _ := fresh(t, &mq.Attr{MaxMessages: 5, MessageSize: 100})
	for i := range 6 {
		st, err := q.Stat()
		if err != nil || st != (mq.Stat{MaxMessages: 5, MessageSize: 100, Messages: i}) {
			t.Errorf("after %d: %+v, %v", i, st, err)
		}
		if _, err := q.TrySend(nil, uint(i)); err != nil {
			t.Error(err)
		}
	}
	// Its flags are those that we open with.
	fd := rawFD(t, q)
	whole := rawAttr{flags: unix.O_NONBLOCK, max: 5, size: 100, now: 5}
	var is rawAttr
	must(t, rawSwapAttr(fd, nil, &is))
	if is != whole {
		t.Errorf("mq_getattr: %+v, want %+v", is, whole)
	}
	const mask = unix.O_ACCMODE | unix.O_NONBLOCK
	if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || fl&mask != unix.O_RDWR|unix.O_NONBLOCK {
		t.Errorf("flags %#x, %v", fl, err)
	}
	// mq_setattr changes no size: of all it is given, it takes O_NONBLOCK. It
	// tells what was before.
	fixed.Messages = 5
	blocking := whole
	blocking.flags = 0
	for _, c := range []struct{ set, was rawAttr }{
		{rawAttr{max: 1, size: 1, now: 1}, whole},
		{rawAttr{flags: unix.O_NONBLOCK, max: 1, size: 1, now: 1}, blocking},
	} {
		var was rawAttr
		must(t, rawSwapAttr(fd, &c.set, &was))
		if was != c.was {
			t.Errorf("mq_setattr: %+v before, want %+v", was, c.was)
		}
		if st, err := q.Stat(); err != nil || st != fixed {
			t.Errorf("after mq_setattr: %+v, %v", st, err)
		}
	}
	wantErr(t, "mq_setattr of another flag", rawSetAttr(fd, &rawAttr{flags: unix.O_APPEND}), unix.EINVAL)
	must(t, rawSwapAttr(fd, nil, &is))
	if st, err := q.Stat(); err != nil || st != fixed || is != whole {
		t.Errorf("after mq_setattr that failed: %+v, %+v, %v", is, st, err)
	}
}

// Whoever has the same descriptor, such as a child that got it, may clear
// O_NONBLOCK: it holds no thread here, and all still ends with its context.
func TestCase198_FlagTakenAway(t *testing.T) {
	q, _ := fresh(t, small(1))
	must(t, rawSetAttr(rawFD(t, q), &rawAttr{}))
	buf := make([]byte, 64)
	if _, _, ok, err := q.TryRecv(buf); ok || err != nil {
		t.Errorf("TryRecv: %v, %v", ok, err)
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	var err error
	within(t, "Recv", func() { _, _, err = q.Recv(ctx, buf) })
	wantErr(t, "Recv", err, context.DeadlineExceeded)
	must(t, q.Send(bg, nil, 0))
	if ok, err := q.TrySend(nil, 0); ok || err != nil {
		t.Errorf("TrySend: %v, %v", ok, err)
	}
	within(t, "Send", func() { err = q.Send(ctx, nil, 0) })
	wantErr(t, "Send", err, context.DeadlineExceeded)
}
