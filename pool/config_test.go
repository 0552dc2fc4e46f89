package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/rawipc/rawipc/pool"
)

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

func init() { pool.RegisterCodec("pool_test.json", jsonCodec{}) }

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
