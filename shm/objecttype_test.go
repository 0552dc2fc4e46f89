package shm_test

import (
	"encoding/gob"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/rawipc/rawipc/shm"
)

type list struct {
	Next *list
	When time.Time
	own  *os.File
}

func refusedObject[T any](t *testing.T, want string) {
	t.Helper()
	q, err := shm.NewObjectQueue[T](1000, "")
	if err == nil {
		q.Close()
		if want != "" {
			t.Errorf("%T: no error", *new(T))
		}
		return
	}
	if want == "" || !strings.Contains(err.Error(), want) {
		t.Errorf("%T: %v, want %q", *new(T), err, want)
	}
}

// A handle doesn't travel through a queue, and the error says where it stands.
func TestObjectQueueRefusesHandles(t *testing.T) {
	refusedObject[*shm.Queue[int]](t, "*shm.Queue[int] is a handle")
	refusedObject[shm.RingWriter](t, "shm.RingWriter is a handle")
	refusedObject[struct{ A []map[string]*shm.Value[int] }](t, ".A[][] is a handle")
	refusedObject[map[*shm.MessageQueue]int](t, "[key] is a handle")
	refusedObject[struct{ F *os.File }](t, ".F is a handle")
	refusedObject[interface{ PassFiles() ([]*os.File, error) }](t, "is a handle")
	refusedObject[list](t, "")
	_ = list{}.own // of which a codec sees nothing
	refusedObject[any](t, "")
	refusedObject[string](t, "")
}

type itself struct{ F func() }

func (itself) GobEncode() ([]byte, error) { return []byte("it"), nil }
func (*itself) GobDecode([]byte) error    { return nil }

// What gob would leave out without a word, or refuse at the first Send, is refused
// at once, and not where something else encodes.
func TestObjectQueueRefusesFunctions(t *testing.T) {
	refusedObject[func()](t, "func() (func()) is a func: it cannot travel")
	refusedObject[struct {
		N int
		F func(int)
	}](t, ".F (func(int)) is a func: it cannot travel")
	refusedObject[map[string][]chan int](t, "[][] (chan int) is a chan: it cannot travel")
	refusedObject[struct{ P unsafe.Pointer }](t, ".P (unsafe.Pointer) is a unsafe.Pointer: it cannot travel")
	refusedObject[struct{ A []*itself }](t, "")
	refusedObject[struct{ f func() }](t, "")
	q, err := shm.NewObjectQueue[struct{ F func() }](100, "hollow")
	must(t, err)
	q.Close()
}

// A nil pointer is refused where gob can't keep it, and kept where it can.
func TestObjectQueueNil(t *testing.T) {
	type node struct {
		Next *node
		N    int
	}
	refuses := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	q, pp, list, box := newObjects[*node](t, 1000), newObjects[**int](t, 1000), newObjects[[]*node](t, 1000), newObjects[any](t, 1000)
	refuses(q.Send(bg, nil), "shm: ObjectQueue of *shm_test.node: gob carries no nil pointer")
	refuses(second(q.TrySend(nil)), "gob carries no nil pointer")
	refuses(pp.Send(bg, nil), "gob carries no nil pointer")
	refuses(pp.Send(bg, new(*int)), "gob carries no nil pointer")
	refuses(list.Send(bg, []*node{nil}), "nil element")
	refuses(box.Send(bg, (*node)(nil)), "nil pointer")
	if n := q.Len() + pp.Len() + list.Len() + box.Len(); n != 0 {
		t.Errorf("%d messages of nothing", n)
	}
	must(t, q.Send(bg, &node{N: 7}))
	if v, err := q.Recv(bg); err != nil || v.N != 7 || v.Next != nil {
		t.Errorf("%v, %v", v, err)
	}
	n, p := 5, (*int)(nil)
	p = &n
	must(t, pp.Send(bg, &p))
	if v, err := pp.Recv(bg); err != nil || **v != 5 {
		t.Errorf("%v, %v", v, err)
	}
}

type nameable interface{ Name() string }

type person struct{ First string }

func (p person) Name() string { return p.First }

// A queue of an interface carries what is registered, and nil.
func TestObjectQueueOfInterfaces(t *testing.T) {
	gob.Register(person{})
	q, all := newObjects[nameable](t, 1000), newObjects[any](t, 1000)
	for _, want := range []nameable{person{"Ada"}, nil} {
		must(t, q.Send(bg, want))
		if got, err := q.Recv(bg); got != want || err != nil {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
	for _, want := range []any{1, "two", 3.5, nil, person{"Bob"}} {
		must(t, all.Send(bg, want))
		if got, err := all.Recv(bg); got != want || err != nil {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
	type unknown struct{ N int }
	if err := all.Send(bg, unknown{1}); err == nil || !strings.Contains(err.Error(), "unknown") || all.Len() != 0 {
		t.Errorf("%v, want an error that names the type", err)
	}
}

// Registering says which of its reasons it is.
func TestRegisterCodecPanics(t *testing.T) {
	for want, call := range map[string]func(){
		`shm: RegisterCodec(""): the name is empty`:                             func() { shm.RegisterCodec("", hollow{}) },
		`shm: RegisterCodec("none"): nil Codec`:                                 func() { shm.RegisterCodec("none", nil) },
		`shm: RegisterCodec("json"): the name is taken by a shm_test.jsonCodec`: func() { shm.RegisterCodec("json", hollow{}) },
		"a name of 256 bytes, want 255 at most":                                 func() { shm.RegisterCodec(strings.Repeat("n", 256), hollow{}) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("%s, want %q", got, want)
				}
			}()
			call()
		}()
	}
}
