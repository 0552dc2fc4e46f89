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
	parcels, err := marshal(Codec(gobCodec{}), []fuzzParcel{{Name: "a"}, {}})
	if err != nil {
		f.Fatal(err)
	}
	broken, err := gobCodec{}.Marshal(failureOf(errors.Join(io.EOF, errors.New("x"))))
	if err != nil {
		f.Fatal(err)
	}
	one := make([]byte, 8)
	f.Add(message(head{call: 1, what: fuzzInts.id}, one), uint16(0))
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
		w, r, err := shm.NewRing(ringSize)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		defer r.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		first := min(len(data), headSize+int(cut))
		for _, record := range [][]byte{data[:first], data[first:]} {
			if err := w.Send(ctx, record); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.CloseSend(); err != nil {
			t.Fatal(err)
		}
		s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(s)
		before := s[0].Value.Uint64()
		h, buf, err := receive(ctx, r, nil)
		if err == nil {
			serve(ctx, h, buf)
			collect(buf)
		} else if !errors.Is(err, shm.ErrCorrupt) && err != io.EOF {
			t.Errorf("receive: %v", err)
		}
		metrics.Read(s)
		if took := s[0].Value.Uint64() - before; took > 8<<20+64*uint64(len(data)) {
			t.Errorf("%d bytes of memory for %d that came (%+v)", took, len(data), h)
		}
	})
}

// serve is what a worker does with a request.
func serve(ctx context.Context, h head, in []byte) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, err := run(ctx, gobCodec{}, h, in, nil, func() {})
	replyTo(h, out, err)
}

// collect is what a caller does with a reply.
func collect(buf []byte) {
	_ = failed("f", buf).Error()
	var (
		n  int64
		p  fuzzParcel
		s  string
		ns [3]int64
		ps [2]fuzzParcel
	)
	c := Codec(gobCodec{})
	_ = decode(formMemory, c, buf, &n)
	_ = decode(formCodec, c, buf, &p)
	_ = decode(formString, c, buf, &s)
	_ = decodeAll(formMemory, c, buf, ns[:])
	_ = decodeAll(formCodec, c, buf, ps[:])
}
