package pipe_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rawipc/rawipc/pipe"
)

// Who passes no context is told so, and if he recovers nobody's turn is gone.
func TestNilContext(t *testing.T) {
	a, b, err := pipe.Pair()
	must(t, err)
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, a, b, r, w)
	l, err := pipe.Listen("unix", filepath.Join(t.TempDir(), "s"))
	must(t, err)
	defer l.Close()
	var none context.Context
	buf := make([]byte, 8)
	for what, call := range map[string]func(){
		"Send":       func() { a.Send(none, buf) },
		"SendFiles":  func() { a.SendFiles(none, buf, os.Stdin) },
		"Flush":      func() { a.Flush(none) },
		"Recv":       func() { a.Recv(none, buf) },
		"RecvAlloc":  func() { a.RecvAlloc(none, 8) },
		"RecvFiles":  func() { a.RecvFiles(none, buf, 1) },
		"Poll":       func() { a.Poll(none) },
		"AcceptConn": func() { l.AcceptConn(none) },
		"Dial":       func() { pipe.Dial(none, "unix", "@nobody") },
		"OpenFIFO":   func() { pipe.OpenFIFO(none, "nothing", os.O_RDONLY) },
		"Select":     func() { pipe.Select(none, a) },
		"Splice":     func() { pipe.Splice(none, w, r, 1) },
		"Tee":        func() { pipe.Tee(none, w, r, 1) },
	} {
		wantPanic(t, what, "pipe: nil context", call)
	}
	within(t, "Recv after Poll", func() {
		must(t, b.Send(bg, []byte("still")))
		n, err := a.Recv(bg, buf) // and not Poll once more, which would put it right
		if must(t, err); string(buf[:n]) != "still" {
			t.Errorf("got %q", buf[:n])
		}
		must(t, a.Send(bg, nil))
	})
}

func wantPanic(t testing.TB, what string, want any, call func()) {
	t.Helper()
	defer func() {
		if got := recover(); got != want {
			t.Errorf("%s: panic is %v, want %v", what, got, want)
		}
	}()
	call()
}
