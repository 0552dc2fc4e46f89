package pipe_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
)

// What a cancelled Recv had got belongs to the Conn, the buffer to the caller.
func TestCancelledRecvKeepsNoBuffer(t *testing.T) {
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	want := bytes.Repeat([]byte("0123456789"), 2000)
	rawWrite(t, w, binary.LittleEndian.AppendUint64(nil, uint64(len(want))))
	buf := make([]byte, len(want))
	for i := 0; i < len(want); i += 5000 {
		ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
		_, err := r.Recv(ctx, buf)
		cancel()
		wantErr(t, "Recv", err, context.DeadlineExceeded)
		clear(buf)
		rawWrite(t, w, want[i:i+5000])
	}
	if n, err := r.Recv(bg, buf); err != nil || !bytes.Equal(buf[:n], want) {
		t.Errorf("%d bytes that differ, %v", n, err)
	}
}

// An announcement alone must cost no memory.
func TestRecvAllocAhead(t *testing.T) {
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	rawWrite(t, w, binary.LittleEndian.AppendUint64(nil, 1<<30))
	rawWrite(t, w, make([]byte, 20_000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 3 {
		ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
		_, err = r.RecvAlloc(ctx, 1<<30)
		cancel()
		wantErr(t, "RecvAlloc", err, context.DeadlineExceeded)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated for 20,000", n)
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		for _, size := range []int{1, 4096, 20_000} {
			msg, buf := make([]byte, size), make([]byte, size)
			if n := testing.AllocsPerRun(200, func() {
				if s.Send(ctx, msg) != nil {
					panic("Send")
				}
				if _, err := r.Recv(ctx, buf); err != nil {
					panic("Recv")
				}
			}); n != 0 {
				t.Errorf("size %d: %v allocations for a message", size, n)
			}
		}
		// Asleep, with a context that can't end.
		buf := make([]byte, 1)
		if n := testing.AllocsPerRun(50, func() {
			r.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := r.Recv(bg, buf); !errors.Is(err, os.ErrDeadlineExceeded) {
				panic(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations asleep", n)
		}
		r.SetReadDeadline(time.Time{})
	})
}
