package proc

import (
	"bytes"
	"errors"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// brokenHandle refuses the descriptors that came for it.
type brokenHandle struct{ _ int }

var errBroken = errors.New("not mine")

func (*brokenHandle) PassFiles() ([]*os.File, error) { return nil, nil }
func (*brokenHandle) TakeFiles([]*os.File) error     { return errBroken }

// What can be wrong with a request's bytes is said, and stops the child before it
// runs anything.
func TestDamagedHandOver(t *testing.T) {
	p, err := newPlan(reflect.TypeFor[box[fuzzArgs]]())
	if err != nil {
		t.Fatal(err)
	}
	h := &fuzzHandle{}
	v := &box[fuzzArgs]{fuzzArgs{N: 1, S: []string{"a"}, H: h, L: make([]fuzzHandle, 2), P: &h,
		A: [2]*fuzzHandle{h, nil}, Kids: []fuzzArgs{{N: 2, P: &h}, {}}, E: make([][0]*fuzzHandle, 3)}}
	args, err := p.encode(reflect.ValueOf(v).Elem())
	if err != nil {
		t.Fatal(err)
	}
	decode := func(shape, gob []byte) error {
		var got box[fuzzArgs]
		return p.decode(&request{shape: shape, gob: gob}, reflect.ValueOf(&got).Elem())
	}
	if err := decode(args.shape, args.gob); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range args.shape {
		if err := decode(args.shape[:i], args.gob); err == nil {
			t.Errorf("the first %d bytes of %d are enough", i, len(args.shape))
		}
		for b := range 256 {
			shape := bytes.Clone(args.shape)
			shape[i] = byte(b)
			if err := decode(shape, args.gob); err != nil {
				refused++
				if err != errShape && !strings.HasPrefix(err.Error(), "argument") {
					t.Errorf("byte %d is %#x: %v", i, b, err)
				}
			}
		}
	}
	if refused < 200*len(args.shape) {
		t.Errorf("%d of %d damages were refused", refused, 256*len(args.shape))
	}
	for i := range args.gob {
		if err := decode(args.shape, args.gob[:i]); err == nil || !strings.HasPrefix(err.Error(), "argument: ") {
			t.Errorf("%d bytes of the argument: %v", i, err)
		}
	}
	if err := decode(append(bytes.Clone(args.shape), 0), args.gob); err != errShape {
		t.Errorf("a byte too many: %v, want %v", err, errShape)
	}
}

// handOver takes what of one type says in place of another's.
func handOver[To any](t *testing.T, from any, files ...*os.File) error {
	t.Helper()
	given := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "V", Type: reflect.TypeOf(from)}})).Elem()
	given.Field(0).Set(reflect.ValueOf(from))
	p, err := newPlan(given.Type())
	if err != nil {
		t.Fatal(err)
	}
	args, err := p.encode(given)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = newPlan(reflect.TypeFor[box[To]]()); err != nil {
		t.Fatal(err)
	}
	defer args.close()
	var got box[To]
	return p.decode(&request{shape: args.shape, gob: args.gob, files: files}, reflect.ValueOf(&got).Elem())
}

func TestHandOverOfAnotherKind(t *testing.T) {
	if err := handOver[*brokenHandle](t, new(fuzzHandle)); !errors.Is(err, errBroken) {
		t.Errorf("what the handle says: %v", err)
	}
	null := func() *os.File {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	tcp := func() *os.File {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "tcp")
	}
	given := null()
	defer given.Close()
	if err := handOver[*net.UnixConn](t, given, null()); err == nil || !strings.HasPrefix(err.Error(), "argument: ") {
		t.Errorf("a file for a connection: %v", err)
	}
	if err := handOver[*net.UnixConn](t, given, tcp()); err == nil || !strings.Contains(err.Error(), "a *net.TCPConn came instead of a *net.UnixConn") {
		t.Errorf("a TCP socket for a local one: %v", err)
	}
	extra := null()
	defer extra.Close()
	first := null()
	defer first.Close()
	if err := handOver[*os.File](t, given, first, extra); err != errShape {
		t.Errorf("a descriptor too many: %v, want %v", err, errShape)
	}
}

// The rest of a request, cut short at each of its bytes, is refused as well.
func TestDamagedRequest(t *testing.T) {
	whole := (&request{fn: "f", name: "n", parent: 1, deathSig: 9, names: []string{"a", "b"}}).marshal()
	if r, err := parseRequest(whole, 2); err != nil || r.fn != "f" || len(r.names) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i := range whole {
		if r, err := parseRequest(whole[:i], 2); err != errRequest {
			t.Errorf("%d of %d bytes: %+v, %v", i, len(whole), r, err)
		}
	}
	for _, files := range []int{1, 3} {
		if _, err := parseRequest(whole, files); err != errRequest {
			t.Errorf("for %d files: %v", files, err)
		}
	}
	one := (&program{path: "/bin/true"}).marshal()
	if _, err := parseProgram(one); err != errRequest {
		t.Errorf("a program without arguments: %v", err)
	}
	if _, err := parseProgram(one[:4]); err != errRequest {
		t.Errorf("half a path: %v", err)
	}
	for _, b := range [][]byte{{0x80}, {7}, {7, 0x80}} {
		if err := setLimits(b); err == nil {
			t.Errorf("limits %#x: no error", b)
		}
	}
}
