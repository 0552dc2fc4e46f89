package pipe_test

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// fill writes until nothing more goes in.
func fill(t *testing.T, c *pipe.Conn) {
	t.Helper()
	for fd, b := rawFD(t, c), make([]byte, 4096); ; {
		if _, err := unix.Write(fd, b); err == unix.EAGAIN {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Splice and Tee sleep while there is nothing to move, or nowhere to put it.
func TestSpliceWaitsWithoutCPU(t *testing.T) {
	oneWay := func() (r, w *pipe.Conn) {
		r, w, err := pipe.OneWay()
		must(t, err)
		closeAfter(t, r, w)
		return r, w
	}
	emptyR, emptyW := oneWay()
	_, freeW := oneWay()
	fullR, fullW := oneWay()
	fill(t, fullW)
	otherR, otherW := oneWay()
	fill(t, otherW)
	a, b := openPair(t)
	fill(t, a)
	path := filepath.Join(t.TempDir(), "fifo")
	must(t, pipe.Mkfifo(path, 0o600))
	bare, err := pipe.OpenFIFO(bg, path, unix.O_RDONLY)
	must(t, err)
	closeAfter(t, bare)
	type call func(context.Context, syscall.Conn, syscall.Conn, int64) (int64, error)
	for _, tt := range []struct {
		name     string
		call     call
		dst, src syscall.Conn
	}{
		{"Splice from an empty pipe", pipe.Splice, freeW, emptyR},
		{"Splice from a FIFO without a writer", pipe.Splice, freeW, bare},
		{"Splice from an empty socket", pipe.Splice, freeW, a},
		{"Splice to a full pipe", pipe.Splice, fullW, b},
		{"Splice to a full socket", pipe.Splice, a, fullR},
		{"Tee from an empty pipe", pipe.Tee, freeW, emptyR},
		{"Tee to a full pipe", pipe.Tee, fullW, otherR},
	} {
		t.Run(tt.name, func(t *testing.T) {
			idle := 150 * time.Millisecond
			if testing.Short() {
				idle = 60 * time.Millisecond
			}
			// What the runtime does once in a while may fall into a short time.
			for ; ; idle *= 2 {
				ctx, cancel := context.WithTimeout(bg, idle)
				before := cpuTime(t)
				within(t, "the call", func() {
					n, err := tt.call(ctx, tt.dst, tt.src, 1<<20)
					wantErr(t, "the call", err, context.DeadlineExceeded)
					if n != 0 {
						t.Errorf("%d bytes moved", n)
					}
				})
				cancel()
				used := cpuTime(t) - before
				if used <= idle/2 {
					break
				}
				if t.Logf("%v of CPU in %v", used, idle); idle > hang/8 {
					t.Fatal("it doesn't sleep")
				}
			}
		})
	}
	must(t, emptyW.Close())
}
