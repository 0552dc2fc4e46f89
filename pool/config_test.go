package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/rawipc/rawipc/pool"
	"github.com/rawipc/rawipc/shm"
)

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

func init() { shm.RegisterCodec("pool_test.json", jsonCodec{}) }

// hidden has a field that JSON leaves out and gob does not.
type hidden struct {
	Seen  string
	Left  string `json:"-"`
	Inner *hidden
}

var show = pool.Register("show", func(_ context.Context, h *hidden) (*hidden, error) {
	h.Seen += "!"
	return h, nil
})

func TestCodec(t *testing.T) {
	for codec, want := range map[string]string{"": "kept", "pool_test.json": ""} {
		p, ctx := poolOf(t, &pool.Config{Workers: 1, Codec: codec}), within(t)
		out, err := show.Call(ctx, p, &hidden{"a", "kept", nil})
		if err != nil || out.Seen != "a!" || out.Left != want {
			t.Errorf("%q: %+v, %v", codec, out, err)
		}
		all, err := show.Map(ctx, p, []*hidden{{Seen: "b"}, {Seen: "c", Inner: &hidden{}}})
		if err != nil || len(all) != 2 || all[1].Seen != "c!" || all[1].Inner == nil {
			t.Errorf("%q: %v, %v", codec, all, err)
		}
		if n, err := double.Call(ctx, p, 4); n != 8 || err != nil {
			t.Errorf("%q: %d, %v", codec, n, err)
		}
		if _, err := failing.Call(ctx, p, 1); !errors.Is(err, errOdd) {
			t.Errorf("%q: %v", codec, err)
		}
	}
}

// A result goes into the buffer that the caller has.
func TestCallInto(t *testing.T) {
	p, ctx := newPool(t, 1), within(t)
	out := make([]byte, 0, 1<<20)
	at := &out[:1][0]
	for _, n := range []int{1, 1000, 1 << 20} {
		if err := invert.CallInto(ctx, p, make([]byte, n), &out); err != nil || len(out) != n || &out[0] != at || out[n-1] != 255 {
			t.Errorf("%d bytes: %d came, in the buffer: %v, %v", n, len(out), &out[0] == at, err)
		}
	}
}

// What a result has as zero is zero in *out, whatever was there.
func TestCallIntoOld(t *testing.T) {
	p := newPool(t, 1)
	out := &point{X: 1, Y: 2, Name: "old"}
	if err := swap.CallInto(within(t), p, point{}, &out); err != nil || *out != (point{Name: "'"}) {
		t.Errorf("%+v, %v", out, err)
	}
}

// What takes no bytes at all travels, too.
func TestNothing(t *testing.T) {
	p, ctx := newPool(t, 2), within(t)
	pids, err := pid.Map(ctx, p, make([]struct{}, 9))
	if err != nil || len(pids) != 9 || pids[8] < 2 {
		t.Errorf("%v, %v", pids, err)
	}
	if none, err := nothing.Map(ctx, p, []int{1, 2, 3}); err != nil || len(none) != 3 {
		t.Errorf("%v, %v", none, err)
	}
	if _, err := nothing.Call(ctx, p, 1); err != nil {
		t.Error(err)
	}
}

var nothing = pool.Register("nothing", func(context.Context, int) (struct{}, error) { return struct{}{}, nil })

var (
	nilPoint  = pool.Register("nilPoint", func(_ context.Context, p *point) (*point, error) { return p, nil })
	nilNumber = pool.Register("nilNumber", func(_ context.Context, n *int) (*int, error) { return n, nil })
	anything  = pool.Register("anything", func(_ context.Context, v any) (any, error) { return v, nil })
)

// A nil pointer is one on the other side, for gob and for another codec, and one
// to a zero value is not.
func TestNilPointers(t *testing.T) {
	for _, codec := range []string{"", "pool_test.json"} {
		p, ctx := poolOf(t, &pool.Config{Workers: 1, Codec: codec}), within(t)
		if out, err := nilPoint.Call(ctx, p, nil); out != nil || err != nil {
			t.Errorf("%q, *struct: %v, %v", codec, out, err)
		}
		if out, err := nilNumber.Call(ctx, p, nil); out != nil || err != nil {
			t.Errorf("%q, *int: %v, %v", codec, out, err)
		}
		out := new(int)
		if err := nilNumber.CallInto(ctx, p, nil, &out); out != nil || err != nil {
			t.Errorf("%q, *int into an old one: %v, %v", codec, out, err)
		}
		if out, err := nilNumber.Call(ctx, p, new(int)); out == nil || *out != 0 || err != nil {
			t.Errorf("%q, *int to 0: %v, %v", codec, out, err)
		}
		if out, err := nilPoint.Call(ctx, p, new(point)); out == nil || *out != (point{}) || err != nil {
			t.Errorf("%q, *struct to a zero one: %v, %v", codec, out, err)
		}
		if out, err := anything.Call(ctx, p, nil); out != nil || err != nil {
			t.Errorf("%q, any: %v, %v", codec, out, err)
		}
		some, err := nilPoint.Map(ctx, p, []*point{{X: 1}, nil})
		if codec == "" && err == nil || codec != "" && (err != nil || some[1] != nil) {
			t.Errorf("%q, in a Map: %v, %v", codec, some, err)
		}
	}
}
