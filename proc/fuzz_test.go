package proc

import (
	"bytes"
	"context"
	"os"
	"reflect"
	"slices"
	"strings"
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

// FuzzTexts gives the other readers what anybody may have written: the child's
// hello, the variable that marks a child, the text of a crash, and files of
// /proc and of control groups, whose names are their makers' to choose.
func FuzzTexts(f *testing.F) {
	f.Add(byte(0), []byte{helloReady, helloTerm})
	f.Add(byte(0), []byte{helloErrno, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(byte(0), append([]byte{helloError}, "no function"...))
	f.Add(byte(1), []byte{helloExec})
	f.Add(byte(1), []byte{helloExec, helloErrno})
	f.Add(byte(2), []byte("1:3"))
	f.Add(byte(2), []byte("1:-3"))
	f.Add(byte(2), []byte("1:99999999999999999999"))
	f.Add(byte(3), []byte("runtime stack:\nruntime.throw({0x5a2b3c, 0x12})\n"))
	f.Add(byte(3), []byte("goroutine 1 [running]:\ninternal/sync.fatal({0xffffffffffffffff, 1})"))
	f.Add(byte(3), []byte("goroutine 1\nruntime.throw({0x7fffffffffffffff"))
	f.Add(byte(4), []byte("oom_kill_disable 0\noom_kill 3\n"))
	f.Add(byte(4), []byte("oom_kill 99999999999999999999\n"))
	f.Add(byte(5), []byte("0::/a\n1:memory,cpu:/b\x00 36 35 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,memory"))
	f.Add(byte(5), []byte("9:memory:/../..\x00 36 35 0:31 /.. /m rw - cgroup cgroup rw,memory"))
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		switch which % 6 {
		case 0, 1:
			if len(b) == 0 || len(b) > maxHello {
				return
			}
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			w.Write(b)
			w.Close()
			p := &Process{path: "program"}
			err = p.awaitHello(context.Background(), r, which%6 == 1)
			if ready := b[0] == helloReady; ready != (err == nil) && b[0] != helloExec || err != nil && err.Error() == "" {
				t.Errorf("%q: %v", b, err)
			}
		case 2:
			if n, err := parseMark(string(b)); err == nil && (n < 0 || formatMark(n) != string(b)) {
				t.Errorf("%q: %d", b, n)
			}
		case 3:
			out := explain(bytes.Clone(b))
			text, found := bytes.CutSuffix(out, b)
			if !found || len(text) > 0 && !slices.Contains(fatals, strings.TrimSpace(strings.TrimPrefix(string(text), "fatal error: "))) {
				t.Errorf("%q: %q", b, out)
			}
		case 4:
			oomKills(b)
		case 5:
			groups, mounts, _ := strings.Cut(string(b), "\x00")
			findEvents(groups, mounts, func(path string) bool { return len(path)%2 == 0 })
		}
	})
}
