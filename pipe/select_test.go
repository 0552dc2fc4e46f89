package pipe_test

import (
	"context"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"
)

// sleeper ends when its Conn does.
var sleeper = proc.Register("sleeper", func(ctx context.Context, c *pipe.Conn) error {
	c.RecvAlloc(ctx, 1)
	return c.Close()
})

func TestCase169_Select(t *testing.T) {
	if fuzz.Without("pidfd") {
		t.Skip("without pidfds a process has no descriptor")
	}
	var conns []syscall.Conn
	var send []*pipe.Conn
	for i := range 30 {
		s, r, err := kinds[i%3].open()
		must(t, err)
		closeAfter(t, s, r)
		send, conns = append(send, s), append(conns, r)
	}
	l, err := pipe.Listen("unix", "@"+t.TempDir())
	must(t, err)
	defer l.Close()
	conns = append(conns, l) // 30
	mine, theirs, err := pipe.Pair()
	must(t, err)
	defer mine.Close()
	p, err := sleeper.Start(bg, theirs)
	must(t, err)
	must(t, theirs.Close())
	conns = append(conns, p, conns[4]) // 31, 32
	want := func(ctx context.Context, err error, which ...int) {
		t.Helper()
		var got []int
		var gotErr error
		within(t, "Select", func() { got, gotErr = pipe.Select(ctx, conns...) })
		if !slices.Equal(got, which) {
			t.Fatalf("ready are %v, %v, want %v", got, gotErr, which)
		}
		wantErr(t, "Select", gotErr, err)
	}
	want(ended(), context.Canceled)
	start := time.Now()
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	want(ctx, context.DeadlineExceeded)
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("it waited for %v of 20ms", d)
	}
	time.AfterFunc(10*time.Millisecond, func() { send[4].Send(bg, []byte("ab")) })
	want(bg, nil, 4, 32)
	want(ended(), nil, 4, 32)
	must(t, send[7].CloseWrite())
	must(t, send[9].Send(bg, []byte("x")))
	must(t, send[9].Send(bg, []byte("y")))
	want(bg, nil, 4, 7, 9, 32)
	for _, i := range []int{4, 9} { // 9 has then read ahead
		_, err = conns[i].(*pipe.Conn).RecvAlloc(bg, 9)
		must(t, err)
	}
	want(bg, nil, 7, 9)
	_, err = conns[9].(*pipe.Conn).RecvAlloc(bg, 9)
	must(t, err)
	c, err := pipe.Dial(bg, "unix", l.Addr().String())
	must(t, err)
	defer c.Close()
	want(bg, nil, 7, 30)
	conns = slices.Delete(conns, 7, 8)
	a, err := l.AcceptConn(bg)
	must(t, err)
	defer a.Close()
	want(ended(), context.Canceled)
	must(t, mine.Close()) // ends the process
	want(bg, nil, 30)
	_, err = p.Wait(bg)
	must(t, err)
}

func TestSelectRefuses(t *testing.T) {
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	before := fdCount(t)
	_, err = pipe.Select(bg)
	wantErr(t, "nothing", err, os.ErrInvalid)
	_, err = pipe.Select(bg, r, nil)
	wantErr(t, "nil", err, os.ErrInvalid)
	f, err := os.Open("/proc/self/exe")
	must(t, err)
	_, err = pipe.Select(bg, r, f)
	wantErr(t, "a file", err, syscall.EPERM)
	says(t, err, "can't be polled, as a file on a disk is: epoll_ctl: ")
	f.Close()
	_, err = pipe.Select(bg, r, f)
	wantErr(t, "closed", err, os.ErrClosed)
	if n := fdCount(t); n > before {
		t.Errorf("%d descriptors, before %d", n, before)
	}
}
