package pool

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"
)

// fuzzParcel goes by gob. It has no map: gob believes what a message says of the
// size of one.
type fuzzParcel struct {
	Name  string
	Parts []struct{ ID uint32 }
}

var (
	fuzzInts    = Register("pool fuzz ints", func(_ context.Context, n int64) (int64, error) { return n + 1, nil })
	fuzzNone    = Register("pool fuzz none", func(context.Context, struct{}) (int64, error) { return 1, errors.New("no") })
	fuzzBytes   = Register("pool fuzz bytes", func(_ context.Context, b []byte) (string, error) { return string(b), nil })
	fuzzParcels = Register("pool fuzz parcel", func(_ context.Context, p fuzzParcel) (fuzzParcel, error) { return p, nil })
)

// FuzzWire gives both sides of a pool what a hostile other side wrote into its
// ring: records of any length, the first of which claims to be a head. It gets a
// message or an error; a worker runs what it was told to, or says why not; a
// caller gets a result or an error. Nothing takes more memory than what arrived
// accounts for.
func FuzzWire(f *testing.F) {
	message := func(h head, payload []byte) []byte {
		b := make([]byte, headSize)
		for i, v := range []uint64{h.call, h.what, h.items, h.flags, h.left, uint64(len(payload)) + h.size} {
			binary.NativeEndian.PutUint64(b[8*i:], v)
		}
		return append(b, payload...)
	}
	parcels, err := marshal(gob, []fuzzParcel{{Name: "a"}, {}})
	if err != nil {
		f.Fatal(err)
	}
	broken, err := gob.Marshal(failureOf(errors.Join(io.EOF, errors.New("x")), 1))
	if err != nil {
		f.Fatal(err)
	}
	one := make([]byte, 8)
	f.Add(message(head{call: 1, what: fuzzInts.id}, one), uint16(0))
	f.Add(message(head{what: fuzzInts.id, items: 2, left: 1 << 40}, make([]byte, 16)), uint16(60))
	f.Add(message(head{what: fuzzInts.id, items: 1 << 61}, one), uint16(0))
	f.Add(message(head{what: fuzzInts.id, items: 1 << 27}, one), uint16(0))
	f.Add(message(head{what: fuzzInts.id, items: 1 << 27, size: 8<<27 - 8}, one), uint16(0))
	f.Add(message(head{what: 4, items: 1 << 27, size: 8<<27 - 8}, one), uint16(0))
	f.Add(message(head{what: fuzzNone.id, items: 1 << 40}, nil), uint16(0))
	f.Add(message(head{what: fuzzNone.id, items: 1 << 63}, nil), uint16(0))
	f.Add(message(head{what: fuzzBytes.id, items: 1 << 30}, []byte("text")), uint16(50))
	f.Add(message(head{what: fuzzBytes.id}, []byte("text")), uint16(50))
	f.Add(message(head{what: fuzzParcels.id, items: 2}, parcels), uint16(0))
	f.Add(message(head{what: fuzzParcels.id, items: 1 << 30}, parcels), uint16(7))
	f.Add(message(head{what: 77}, broken), uint16(0))
	f.Add(message(head{size: 1 << 62}, broken), uint16(0))
	f.Add([]byte("short"), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		if len(data) > 100_000 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(s)
		before := s[0].Value.Uint64()
		for _, side := range []func(context.Context, *testing.T, *shm.RingReader){asWorker, asCaller} {
			w, r := newRing(t)
			first := min(len(data), headSize+int(cut))
			for _, record := range [][]byte{data[:first], data[first:]} {
				if err := w.Send(ctx, record); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.CloseSend(); err != nil {
				t.Fatal(err)
			}
			side(ctx, t, r)
		}
		metrics.Read(s)
		if took := s[0].Value.Uint64() - before; took > mostDecoding+64*uint64(len(data)) {
			t.Errorf("%d bytes of memory for %d that came", took, len(data))
		}
	})
}

// mostDecoding is for seven decodings by package gob, which takes up to 10 MiB
// for a length that a message claims, and no more before its bytes are there.
const mostDecoding = 7 * 10 << 20

func newRing(t *testing.T) (*shm.RingWriter, *shm.RingReader) {
	w, r, err := shm.NewRing(ringSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); r.Close() })
	return w, r
}

// asWorker does what a worker does with a request.
func asWorker(ctx context.Context, t *testing.T, calls *shm.RingReader) {
	replies, r := newRing(t)
	counts, err := shm.New[counters](nil)
	if err != nil {
		t.Fatal(err)
	}
	defer counts.Close()
	s := &server{workerArgs: workerArgs{calls, replies, counts, ""}, init: func() error { return nil }, codec: gob}
	if s.head, s.lost = peek(ctx, calls); s.lost == nil {
		if err := s.serve(ctx); err != nil && s.lost == nil {
			s.fail(ctx, err)
		}
	}
	expected(t, s.lost)
	if s.lost == nil {
		if h, err := peek(ctx, r); err != nil || h.call != s.call || h.what != replyOK && h.what != replyError {
			t.Errorf("the reply is %+v, %v", h, err)
		}
	}
}

// asCaller does what a caller does with a reply.
func asCaller(ctx context.Context, t *testing.T, replies *shm.RingReader) {
	h, lost := peek(ctx, replies)
	if lost == nil {
		var (
			n  int64
			b  []byte
			s  string
			p  fuzzParcel
			ns = make([]int64, 3)
			ps []fuzzParcel
			f  failure
		)
		switch h.what % 7 {
		case 0:
			lost, _ = get(ctx, replies, h, fuzzInts.in, gob, &n)
		case 1:
			lost, _ = get(ctx, replies, h, fuzzBytes.in, gob, &b)
		case 2:
			lost, _ = get(ctx, replies, h, fuzzBytes.out, gob, &s)
		case 3:
			lost, _ = get(ctx, replies, h, fuzzParcels.in, gob, &p)
		case 4:
			lost, _ = get(ctx, replies, h, fuzzInts.ins, gob, &ns)
		case 5:
			lost, _ = get(ctx, replies, h, fuzzParcels.ins, gob, &ps)
		case 6:
			var err error
			if lost, err = get(ctx, replies, h, form{}, gob, &f); lost == nil && err == nil {
				_ = f.task("f").Error()
			}
		}
	}
	expected(t, lost)
}

// expected are the errors of a ring whose other side breaks the rules or has
// ended.
func expected(t *testing.T, lost error) {
	if lost != nil && !errors.Is(lost, shm.ErrCorrupt) && lost != io.EOF {
		t.Errorf("lost: %v", lost)
	}
}
