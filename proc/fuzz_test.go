package proc

import (
	"bytes"
	"os"
	"reflect"
	"testing"
)

type fuzzHandle struct{ n int }

func (h *fuzzHandle) PassFiles() ([]*os.File, error) { return nil, nil }
func (h *fuzzHandle) TakeFiles(fs []*os.File) error  { h.n++; return nil }

// fuzzArgs has every kind of node that a plan can have.
type fuzzArgs struct {
	N    int
	S    []string
	H    *fuzzHandle
	V    fuzzHandle
	L    []fuzzHandle
	P    **fuzzHandle
	A    [2]*fuzzHandle
	Kids []fuzzArgs
	E    [][0]*fuzzHandle
}

// FuzzRequest feeds the child's side what no parent of ours would send. It must
// return an error or a value, and must not allocate what a length only claims.
func FuzzRequest(f *testing.F) {
	p, err := newPlan(reflect.TypeFor[box[fuzzArgs]]())
	if err != nil {
		f.Fatal(err)
	}
	h := &fuzzHandle{}
	v := &box[fuzzArgs]{fuzzArgs{N: 1, S: []string{"a"}, H: h, L: make([]fuzzHandle, 2), P: &h,
		A: [2]*fuzzHandle{h, nil}, Kids: []fuzzArgs{{N: 2}, {}}, E: make([][0]*fuzzHandle, 3)}}
	args, err := p.encode(reflect.ValueOf(v).Elem())
	if err != nil {
		f.Fatal(err)
	}
	whole := (&request{fn: "f", name: "n", parent: 1, deathSig: 9, shape: args.shape, gob: args.gob}).marshal()
	f.Add(whole)
	for i := range whole {
		if i%7 == 0 {
			f.Add(whole[:i])
		}
	}
	r, err := parseRequest(whole, 0)
	if err != nil {
		f.Fatal(err)
	}
	var got box[fuzzArgs]
	if err := p.decode(r, reflect.ValueOf(&got).Elem()); err != nil {
		f.Fatal(err)
	}
	if got.V.H == nil || got.V.A[0] != got.V.H || *got.V.P != got.V.H || got.V.H.n != 1 || len(got.V.L) != 2 || got.V.L[1].n != 1 || len(got.V.E) != 3 || got.V.Kids[0].N != 2 {
		f.Fatalf("decoded %+v", got.V)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b, 0)
		if err != nil {
			return
		}
		parseProgram(r.shape)
		var a box[fuzzArgs]
		p.decode(r, reflect.ValueOf(&a).Elem())
	})
}

// FuzzReport feeds the parent's side what a child may have left.
func FuzzReport(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("panic: boom\n"))
	f.Add(append(bytes.Clone(reportMagic), 3, 'o', 'h', '!', 'p'))
	f.Add(append(bytes.Clone(reportMagic), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, crash := splitReport(b)
		if len(msg)+len(crash) > len(b) {
			t.Errorf("%d and %d bytes out of %d", len(msg), len(crash), len(b))
		}
		if (&ExitError{State: &State{}, Msg: msg, Crash: crash}).Error() == "" {
			t.Error("no text")
		}
	})
}
