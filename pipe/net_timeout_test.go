package pipe_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// timeout fails unless err is one of a deadline.
func timeout(t *testing.T, what string, err error) {
	t.Helper()
	ne, ok := err.(net.Error)
	if !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: %v is no timeout", what, err)
	}
}

// netReadTimeout: a reader's deadline doesn't disturb writers.
func netReadTimeout(t *testing.T, a, b net.Conn) {
	go io.Copy(io.Discard, struct{ io.Reader }{b})
	must(t, a.SetReadDeadline(time.Unix(1, 0)))
	_, err := a.Read(make([]byte, 10))
	timeout(t, "Read", err)
	if _, err := a.Write(make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

// netWriteTimeout: a writer's deadline doesn't disturb readers.
func netWriteTimeout(t *testing.T, a, b net.Conn) {
	go b.Write(make([]byte, 10))
	must(t, a.SetWriteDeadline(time.Unix(1, 0)))
	_, err := a.Write(make([]byte, 10))
	timeout(t, "Write", err)
	if n, err := a.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Error(n, err)
	}
}

// netPastTimeout: a deadline in the past ends each call, and lifting it helps.
func netPastTimeout(t *testing.T, a, b net.Conn) {
	must(t, a.SetDeadline(time.Unix(1, 0)))
	for range 3 {
		n, err := a.Write(make([]byte, 10))
		timeout(t, "Write", err)
		m, err := a.Read(make([]byte, 10))
		timeout(t, "Read", err)
		if n != 0 || m != 0 {
			t.Errorf("%d and %d bytes", n, m)
		}
	}
	must(t, a.SetDeadline(time.Time{}))
	netPingPong(t, a, b)
}

// netPresentTimeout: a deadline that is set to the past ends calls that are
// blocked.
func netPresentTimeout(t *testing.T, a, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.Read(make([]byte, 10))
		timeout(t, "Read", err)
	})
	wg.Go(func() {
		var err error
		for err == nil {
			_, err = a.Write(make([]byte, 50_000))
		}
		timeout(t, "Write", err)
	})
	blocked()
	must(t, a.SetDeadline(time.Unix(1, 0)))
	wg.Wait()
}

// netFutureTimeout: not before the deadline.
func netFutureTimeout(t *testing.T, a, b net.Conn) {
	until := time.Now().Add(50 * time.Millisecond)
	must(t, a.SetDeadline(until))
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := a.Read(make([]byte, 10))
		timeout(t, "Read", err)
		if time.Now().Before(until) {
			t.Error("Read ended early")
		}
	})
	wg.Go(func() {
		var err error
		for err == nil {
			_, err = a.Write(make([]byte, 50_000))
		}
		timeout(t, "Write", err)
		if time.Now().Before(until) {
			t.Error("Write ended early")
		}
	})
	wg.Wait()
	// What was half sent belongs to the Conn, which goes on with it.
	go io.Copy(io.Discard, struct{ io.Reader }{b})
	must(t, a.SetDeadline(time.Time{}))
	if _, err := a.Write(make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

// netCloseTimeout: Close ends blocked calls, with a deadline set or not.
func netCloseTimeout(t *testing.T, a, b net.Conn) {
	must(t, a.SetDeadline(time.Now().Add(time.Hour)))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, err := a.Read(make([]byte, 10))
			wantErrGo(t, "Read", err, os.ErrClosed)
		})
		wg.Go(func() {
			var err error
			for err == nil {
				_, err = a.Write(make([]byte, 50_000))
			}
			wantErrGo(t, "Write", err, os.ErrClosed)
		})
	}
	blocked()
	must(t, a.Close())
	wg.Wait()
	for what, err := range map[string]error{
		"SetDeadline": a.SetDeadline(time.Time{}), "SetReadDeadline": a.SetReadDeadline(time.Time{}),
		"SetWriteDeadline": a.SetWriteDeadline(time.Time{}), "Close": a.Close(),
	} {
		wantErrGo(t, what, err, os.ErrClosed)
	}
}
