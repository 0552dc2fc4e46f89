package proc_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

type (
	withChan     struct{ In struct{ C chan int } }
	withFunc     struct{ Hooks []func() }
	hiddenFunc   struct{ hook func() }
	hiddenHandle struct{ log *os.File }
	deepHidden   struct {
		A []struct{ b struct{ C *port[int] } }
	}
	mapHandle     struct{ M map[string]*port[int] }
	mapKeyHandle  struct{ M map[*os.File]int }
	mapDeepHandle struct{ M map[string][]inner }
	faceHandle    struct {
		H interface {
			PassFiles() ([]*os.File, error)
			TakeFiles([]*os.File) error
		}
	}
	fileValue  struct{ F os.File }
	connValue  struct{ C net.UnixConn }
	embedded   struct{ *port8 }
	Exported   = port[int]
	embedding  struct{ *Exported }
	port8      struct{ Port *port[int8] }
	chanPtr    struct{ P **chan int }
	rawPointer struct{ P unsafe.Pointer }
	withLock   struct{ _ sync.Mutex } // refused by gob, not by us
	unsentChan struct {
		N  int
		ch <-chan int
	}
)

func refusal[A any](t *testing.T, name string) (msg string) {
	t.Helper()
	defer func() { msg = fmt.Sprint(recover()) }()
	proc.Register(name, func(context.Context, A) error { return nil })
	return
}

func TestRegisterRefuses(t *testing.T) {
	_ = []any{hiddenFunc{}.hook, hiddenHandle{}.log, &withLock{}, unsentChan{}.ch}
	tests := []struct{ got, want string }{
		{refusal[struct{}](t, ""), "proc: Register: empty name"},
		{refusal[struct{}](t, "nothing"), `proc: Register "nothing": the name is taken`},
		{refusal[withChan](t, "r"), `proc: Register "r": proc_test.withChan.In.C (chan int) is a chan: it cannot travel; use a queue of package shm, or a pipe.Conn`},
		{refusal[withFunc](t, "r"), "withFunc.Hooks[] (func()) is a func"},
		{refusal[func()](t, "r"), "func() (func()) is a func"},
		{refusal[chanPtr](t, "r"), "chanPtr.P (chan int) is a chan"},
		{refusal[rawPointer](t, "r"), "rawPointer.P is an unsafe.Pointer: it cannot travel"},
		{refusal[hiddenFunc](t, "r"), "hiddenFunc.hook (func()) is a func in an unexported field"},
		{refusal[*shm.Object](t, "r"), "shm.Object.file (*os.File) is a handle in an unexported field: handles travel only in exported fields, arrays, slices and behind pointers; pass what its method File returns, and make a shm.Object of it in the child (shm.FromFile"},
		{refusal[hiddenHandle](t, "r"), "hiddenHandle.log (*os.File) is a handle in an unexported field"},
		{refusal[deepHidden](t, "r"), "deepHidden.A[].b.C (*proc_test.port[int]) is a handle in an unexported field"},
		{refusal[mapHandle](t, "r"), "mapHandle.M[] (*proc_test.port[int]) is a handle in a map"},
		{refusal[mapKeyHandle](t, "r"), "mapKeyHandle.M[key] (*os.File) is a handle in a map"},
		{refusal[mapDeepHandle](t, "r"), "mapDeepHandle.M[][].Port (*proc_test.port[string]) is a handle in a map"},
		{refusal[faceHandle](t, "r"), "is a handle in an interface"},
		{refusal[fileValue](t, "r"), "fileValue.F is a os.File: pass a pointer to it"},
		{refusal[connValue](t, "r"), "connValue.C is a net.UnixConn: pass a pointer to it"},
		{refusal[embedding](t, "r"), "embedding.Exported is an embedded handle: give the field a name"},
		{refusal[embedded](t, "r"), "embedded.port8.Port (*proc_test.port[int8]) is a handle in an unexported field"},
		{refusal[unsentChan](t, "r"), "unsentChan.ch (<-chan int) is a chan in an unexported field"},
		{refusal[withLock](t, fmt.Sprint("accepted ", time.Now().UnixNano())), "<nil>"},
	}
	for _, tt := range tests {
		if !strings.HasPrefix(tt.got, "proc: Register") && tt.want != "<nil>" || !strings.Contains(tt.got, tt.want) {
			t.Errorf("panic %q, want %q", tt.got, tt.want)
		}
	}
}

// greeter is a struct of arguments with a method.
type greeter struct {
	Out  *os.File
	Word string
}

func (g greeter) Run(context.Context) error {
	_, err := fmt.Fprintf(g.Out, "%s from a method", g.Word)
	return err
}

var greeting = proc.RegisterMethod("greeter", greeter.Run)

func TestRegisterMethod(t *testing.T) {
	r, w := oneWay(t)
	p := started(t, greeting, nil, greeter{Out: w, Word: "hello"})
	w.Close()
	if b, err := io.ReadAll(r); string(b) != "hello from a method" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Error(err)
	}
}
