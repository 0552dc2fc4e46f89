package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
)

// port is a handle as the other packages have them: descriptors and some state.
type port[T any] struct {
	files []*os.File
	typ   string
	taken int
}

func (p *port[T]) PassFiles() ([]*os.File, error) {
	if len(p.files) == 0 {
		return nil, errors.New("port: not open")
	}
	return p.files, nil
}

func (p *port[T]) TakeFiles(fs []*os.File) error {
	if len(fs) > 3 {
		return fmt.Errorf("port: %d files: want at most 3", len(fs))
	}
	p.files, p.typ, p.taken = fs, fmt.Sprintf("%T", *new(T)), p.taken+1
	return nil
}

type inner struct {
	Word string
	Port *port[string]
	Next *inner
}

// args has handles wherever they may stand.
type args struct {
	Number int
	Port   *port[int]
	Again  *port[int] // the same one
	Value  port[bool]
	Nil    *port[int]
	List   []*port[int]
	Pair   [2]*os.File
	Inner  inner
	Far    **inner
	Conn   *net.UnixConn
	File   *os.File
	Map    map[string]int
	Big    *big.Int
	When   time.Time
	Empty  struct{}
	Any    any
	hidden int
}

// told is a function that writes what it sees to a file that it was given.
var told = proc.Register("told", func(_ context.Context, a args) error {
	say := func(f *os.File, format string, v ...any) { fmt.Fprintf(f, format+"\n", v...) }
	say(a.Port.files[0], "number %d %v %v %v", a.Number, a.Map, a.Big, a.When.Unix())
	say(a.Port.files[0], "typ %s %s %s", a.Port.typ, a.Value.typ, a.Inner.Port.typ)
	say(a.Again.files[0], "same %v %v %v", a.Port == a.Again, a.List[0] == a.Port, a.Port.taken)
	say(a.Value.files[0], "nil %v %v %v", a.Nil == nil, a.List[1] == nil, a.List[2] == nil)
	say(a.List[0].files[0], "len %d %d", len(a.List), len(a.Value.files))
	say(a.Pair[0], "pair %v %v", a.Pair[0] == a.File, a.Pair[1] == nil)
	say(a.Inner.Next.Port.files[0], "inner %s %s", a.Inner.Word, a.Inner.Next.Word)
	say((*a.Far).Port.files[0], "far %v %v", a.Inner.Next.Next == nil, (*a.Far).Port == a.Inner.Port)
	say(a.File, "any %v %d", a.Any, a.hidden)
	if _, err := a.Conn.Write([]byte("hello")); err != nil {
		return err
	}
	return nil
})

func TestHandles(t *testing.T) {
	r, w := oneWay(t)
	ours, theirs := unixPair(t)
	p1, ps := &port[int]{files: []*os.File{w}}, &port[string]{files: []*os.File{w, r}}
	in := inner{Word: "one", Port: ps, Next: &inner{Word: "two", Port: &port[string]{files: []*os.File{w}}}}
	far := &inner{Port: ps}
	before := descriptors(t)
	p, err := told.Start(context.Background(), args{
		Number: 7, Port: p1, Again: p1, Value: port[bool]{files: []*os.File{w, r, w}},
		List: []*port[int]{p1, nil, nil}, Pair: [2]*os.File{w, nil}, Inner: in, Far: &far,
		Conn: theirs, File: w, Map: map[string]int{"a": 1}, Big: big.NewInt(99),
		When: time.Unix(5, 0), Any: 12, hidden: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	if after := descriptors(t); len(after) != len(before) {
		t.Errorf("descriptors before: %v\nafter: %v", before, after)
	}
	w.Close()
	got, err := io.ReadAll(r)
	want := `number 7 map[a:1] 99 5
typ int bool string
same true true 1
nil true true true
len 3 3
pair true true
inner one two
far true true
any 12 0
`
	if string(got) != want || err != nil {
		t.Errorf("the child saw:\n%s%v\nwant:\n%s", got, err, want)
	}
	buf := make([]byte, 16)
	ours.SetDeadline(time.Now().Add(bound))
	if n, err := ours.Read(buf); string(buf[:n]) != "hello" {
		t.Errorf("from the connection: %q, %v", buf[:n], err)
	}
}

func unixPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns[i] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

// echo writes its argument to standard output, as Go syntax.
func echo[T any](_ context.Context, v T) error {
	fmt.Printf("%#v", v)
	return nil
}

var (
	echoInt    = proc.Register("echo int", echo[int])
	echoString = proc.Register("echo string", echo[string])
	echoSlice  = proc.Register("echo slice", echo[[]string])
	echoMap    = proc.Register("echo map", echo[map[string][]int])
	echoBytes  = proc.Register("echo bytes", echo[[]byte])
	echoAny    = proc.Register("echo any", echo[any])
	echoPtr    = proc.Register("echo pointer", func(ctx context.Context, p *int) error {
		if p == nil {
			return echo(ctx, "nil")
		}
		return echo(ctx, *p)
	})
	echoFile = proc.Register("echo file", func(_ context.Context, f *os.File) error {
		_, err := fmt.Fprintf(f, "%T", f)
		return err
	})
	echoNames = proc.Register("echo names", func(ctx context.Context, fs []*os.File) error {
		var names []string
		for _, f := range fs {
			names = append(names, f.Name())
		}
		return echo(ctx, names)
	})
	bulky = proc.Register("bulky", func(_ context.Context, b []byte) error {
		if len(b) != 8<<20 || b[len(b)-1] != 9 {
			return fmt.Errorf("%d bytes", len(b))
		}
		return nil
	})
)

func output[A any](t *testing.T, f *proc.Func[A], a A) string {
	t.Helper()
	r, w := oneWay(t)
	p := started(t, f, &proc.Cmd{Stdout: w}, a)
	w.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPlainArguments(t *testing.T) {
	five := 5
	for _, tt := range []struct{ got, want string }{
		{output(t, echoInt, 0), "0"},
		{output(t, echoInt, -3), "-3"},
		{output(t, echoString, "a\x00b"), `"a\x00b"`},
		{output(t, echoSlice, []string{"x", ""}), `[]string{"x", ""}`},
		{output(t, echoSlice, nil), `[]string(nil)`},
		{output(t, echoMap, map[string][]int{"a": {1, 2}}), `map[string][]int{"a":[]int{1, 2}}`},
		{output(t, echoBytes, []byte{1}), `[]byte{0x1}`},
		{output(t, echoAny, any("boxed")), `"boxed"`},
		{output(t, echoAny, nil), `<nil>`},
		{output(t, echoPtr, nil), `"nil"`},
		{output(t, echoPtr, &five), `5`},
	} {
		if tt.got != tt.want {
			t.Errorf("the child saw %s, want %s", tt.got, tt.want)
		}
	}
	r, w := oneWay(t)
	p := started(t, echoFile, nil, w)
	w.Close()
	if b, err := io.ReadAll(r); string(b) != "*os.File" || err != nil {
		t.Errorf("through a file as the whole argument: %q, %v", b, err)
	}
	p.Wait(within(t))
	if got := output(t, echoNames, []*os.File{os.Stdin, os.Stderr}); got != `[]string{"/dev/stdin", "/dev/stderr"}` {
		t.Errorf("names: %s", got)
	}
	b := make([]byte, 8<<20)
	b[len(b)-1] = 9
	if _, err := started(t, bulky, nil, b).Wait(within(t)); err != nil {
		t.Errorf("8 MiB: %v", err)
	}
}
