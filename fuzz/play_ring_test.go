package fuzz_test

import (
	"os"
	"testing"

	"github.com/rawipc/rawipc/shm"
)

// FuzzModelRing plays on a Ring: the writer is the one member, the reader the
// other.
func FuzzModelRing(f *testing.F) { playAll(f, ringPlays) }

var ringPlays = []play{{"ring", castRing, farRing, modelRing}}

type (
	writerRole struct{ *shm.RingWriter }
	readerRole struct{ *shm.RingReader }
)

func castRing(byte) (role, []*os.File, func(), error) {
	w, r, err := shm.NewRing(1)
	if err != nil {
		return nil, nil, nil, err
	}
	files, err := r.PassFiles()
	return writerRole{w}, files, func() { r.Close() }, err
}

func farRing(files []*os.File) (role, error) {
	r := new(shm.RingReader)
	return readerRole{r}, r.TakeFiles(files)
}

// lengthOf makes lengths of messages, mostly small, now and then too large.
func lengthOf(arg uint16, most int) int {
	switch arg % 8 {
	case 0:
		return most - int(arg>>3)%16
	case 1:
		return most + 1
	case 2, 3:
		return int(arg) % (most + 1)
	}
	return int(arg>>3) % 64
}

func (w writerRole) do(op byte, arg uint16, late bool) string {
	ctx, cancel := in(late)
	defer cancel()
	n := lengthOf(arg, w.MaxMessage())
	switch op % 6 {
	case 0, 1:
		return said(w.Send(ctx, fill(n, arg)))
	case 2:
		b, err := w.Reserve(ctx, n)
		if err != nil {
			return said(err)
		}
		used := copy(b, fill(n/2, arg))
		w.Commit(used)
		return ok(len(b))
	case 3: // what is not committed is not sent
		b, err := w.Reserve(ctx, n)
		for i := range b {
			b[i] = 0xee
		}
		return said(err, len(b))
	case 4:
		return ok(w.Consumed())
	}
	return said(w.CloseSend())
}

func (r readerRole) do(op byte, arg uint16, late bool) string {
	ctx, cancel := in(late)
	defer cancel()
	switch op % 3 {
	case 0:
		buf := make([]byte, arg%5000)
		n, err := r.Recv(ctx, buf)
		return said(err, sum(buf[:n]))
	case 1:
		b, err := r.Peek(ctx)
		return said(err, sum(b))
	}
	b, err := r.Peek(ctx)
	if err == nil {
		defer r.Advance()
	}
	return said(err, sum(b))
}

func modelRing(byte, bool) func(bool, byte, uint16) (string, bool) {
	size := os.Getpagesize()
	var (
		queue    [][]byte
		used     int
		consumed uint64
		done     bool
	)
	record := func(n int) int { return 8 + (n+7)&^7 }
	none := sum(nil)
	pop := func() {
		used -= record(len(queue[0]))
		consumed += uint64(record(len(queue[0])))
		queue = queue[1:]
	}
	reader := func(op byte, arg uint16) (string, bool) {
		switch {
		case len(queue) == 0 && done:
			return fails("EOF", none), false
		case len(queue) == 0:
			return fails("canceled", none), true
		case op%3 == 0 && len(queue[0]) > int(arg%5000):
			return fails("short", none), false
		}
		s := ok(sum(queue[0]))
		if op%3 != 1 {
			pop()
		}
		return s, false
	}
	return func(far bool, op byte, arg uint16) (string, bool) {
		if far {
			return reader(op, arg)
		}
		n := lengthOf(arg, size-8)
		op %= 6
		var values []any // of a failed Reserve
		if op == 3 {
			values = []any{0}
		}
		switch {
		case op == 4:
			return ok(consumed), false
		case op == 5:
			if arg%16 != 0 { // seldom, as it is the end
				return "", false
			}
			done = true
			return ok(), false
		case n > size-8:
			return fails("too large", values...), false
		case done:
			return fails("closed", values...), false
		case used+record(n) > size:
			return fails("canceled", values...), true
		case op == 3:
			return ok(n), false
		}
		msg := fill(n, arg)
		if op == 2 {
			msg = fill(n/2, arg)
		}
		queue, used = append(queue, msg), used+record(len(msg))
		if op == 2 {
			return ok(n), false
		}
		return ok(), false
	}
}
