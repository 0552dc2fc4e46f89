package pool

import (
	"bytes"
	"context"
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
		h.size += uint64(len(payload))
		return append(bytes.Clone(memoryOf(form{}, &h)), payload...)
	}
	parcels, err := marshal(gob, &[]fuzzParcel{{Name: "a"}, {}})
	if err != nil {
		f.Fatal(err)
	}
	broken, err := gob.Marshal(failureOf(errors.Join(io.EOF, errors.New("x")), 1))
	if err != nil {
		f.Fatal(err)
	}
	one := make([]byte, 8)
	f.Add(message(head{call: 1}, nil), uint16(0))
	f.Add(message(head{call: 2, what: fuzzInts.id}, one), uint16(0))
	f.Add(message(head{what: fuzzInts.id, items: 2, left: 1 << 40}, make([]byte, 16)), uint16(60))
	f.Add(message(head{what: fuzzInts.id, items: 1 << 61}, one), uint16(0))
	f.Add(message(head{what: fuzzInts.id, items: 1 << 27}, one), uint16(0))
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
		given := func() *shm.RingReader { return fuzzRing(ctx, t, data, headSize+int(cut)) }
		s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(s)
		before := s[0].Value.Uint64()
		fuzzServe(ctx, t, given())
		fuzzCollect(ctx, t, given, form{}, new(failure))
		fuzzCollect(ctx, t, given, formOf[int](), new(int))
		fuzzCollect(ctx, t, given, formOf[string](), new(string))
		fuzzCollect(ctx, t, given, formOf[[]byte](), new([]byte))
		fuzzCollect(ctx, t, given, formOf[fuzzParcel](), new(fuzzParcel))
		three := make([]int64, 3)
		fuzzCollect(ctx, t, given, formOfAll[int64](), &three)
		fuzzCollect(ctx, t, given, formOfAll[fuzzParcel](), new([]fuzzParcel))
		metrics.Read(s)
		if took := s[0].Value.Uint64() - before; took > mostDecoding+128*uint64(len(data)) {
			t.Errorf("%d bytes of memory for %d that came", took, len(data))
		}
	})
}

// mostDecoding is for seven decodings by package gob, which takes up to 10 MiB
// for a length that a message claims, and no more before its bytes are there.
const mostDecoding = 7 * 10 << 20

// fuzzRing is a ring with the data in two records, and then the end.
func fuzzRing(ctx context.Context, t *testing.T, data []byte, first int) *shm.RingReader {
	w, r, err := shm.NewRing(ringSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		r.Close()
	})
	first = min(first, len(data))
	if err := errors.Join(w.Send(ctx, data[:first]), w.Send(ctx, data[first:]), w.CloseSend()); err != nil {
		t.Fatal(err)
	}
	return r
}

// fuzzServe is what a worker does with a request.
func fuzzServe(ctx context.Context, t *testing.T, r *shm.RingReader) {
	replies, collect, err := shm.NewRing(ringSize)
	if err != nil {
		t.Fatal(err)
	}
	defer collect.Close()
	defer replies.Close()
	counts, err := shm.New[counters](nil)
	if err != nil {
		t.Fatal(err)
	}
	defer counts.Close()
	s := &server{life: ctx, workerArgs: workerArgs{Calls: r, Replies: replies, Counts: counts}, codec: gob, done: &counts.Ptr().Items, init: func() error { return nil }}
	if s.head, s.lost = peek(ctx, r); s.lost == nil {
		if err := s.serve(ctx); err != nil && s.lost == nil {
			s.fail(err)
		}
	}
	if s.lost != nil && !errors.Is(s.lost, shm.ErrCorrupt) && s.lost != io.EOF {
		t.Errorf("a worker's ring: %v", s.lost)
	}
}

// fuzzCollect is what a caller does with a reply.
func fuzzCollect[T any](ctx context.Context, t *testing.T, given func() *shm.RingReader, f form, to *T) {
	r := given()
	h, lost := peek(ctx, r)
	if lost == nil {
		lost, _ = get(ctx, r, h, f, gob, to)
	}
	if lost != nil && !errors.Is(lost, shm.ErrCorrupt) && lost != io.EOF {
		t.Errorf("a caller's ring: %v", lost)
	}
	if bad, ok := any(to).(*failure); ok && lost == nil {
		_ = bad.task("f").Error()
	}
}
