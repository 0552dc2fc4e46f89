package pool

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"reflect"
	"sync"

	"github.com/rawipc/rawipc/proc"
)

// A Func is a function of this program that workers can run. It may be used by
// any number of goroutines and pools at once.
type Func[In, Out any] struct {
	name    string
	id      uint64
	in, out form
}

// handler is a registered function as a worker sees it: bytes in, bytes out.
// one serves Call, many a chunk. The result is appended to buf, or memory of its
// own.
type handler struct {
	name string
	one  func(ctx context.Context, c Codec, in, buf []byte) ([]byte, error)
	many func(ctx context.Context, c Codec, in []byte, items int, done func()) ([]byte, error)
}

var registry = struct {
	sync.RWMutex
	byID map[uint64]*handler
}{byID: make(map[uint64]*handler)}

func registered(id uint64) *handler {
	registry.RLock()
	defer registry.RUnlock()
	return registry.byID[id]
}

// Register makes f known under a name, so that workers can run it. It belongs
// into a package-level variable: workers are this program started again, and
// must come to know the same functions.
//
// In and Out may be anything that package gob can encode; []byte, string and
// types without pointers travel as they are, without an encoding; of what gob
// encodes only the exported fields travel. A []byte that f gets is valid until f
// returns. Register panics if the name is taken or if In
// or Out contain a handle (what package proc passes to a child, such as a ring
// or a file), naming its place: calls carry bytes, no descriptors. Those go to
// workers by RegisterInit.
func Register[In, Out any](name string, f func(context.Context, In) (Out, error)) *Func[In, Out] {
	fn := &Func[In, Out]{name: name, id: nameID(name), in: formOf[In](), out: formOf[Out]()}
	for _, t := range []reflect.Type{reflect.TypeFor[In](), reflect.TypeFor[Out]()} {
		if path := findHandle(t, t.String(), nil); path != "" {
			panic(fmt.Sprintf("pool: Register(%q): %s is a handle, and calls carry no descriptors: pass it to the workers by RegisterInit", name, path))
		}
	}
	h := &handler{name: name}
	h.one = func(ctx context.Context, c Codec, in, buf []byte) ([]byte, error) {
		if fn.in == formMemory { // a v of its own, that need not be on the heap
			var v In
			if n := copyPieces(memoryOf(&v), in); n != len(in) || n != len(memoryOf(&v)) {
				return nil, fmt.Errorf("an argument of %d bytes, want %d", len(in), len(memoryOf(&v)))
			}
			out, err := f(ctx, v)
			if err != nil {
				return nil, err
			}
			return encode(fn.out, c, buf, out)
		}
		var v In
		if err := decode(fn.in, c, in, &v); err != nil {
			return nil, fmt.Errorf("decoding the argument: %w", err)
		}
		out, err := f(ctx, v)
		if err != nil {
			return nil, err
		}
		return encode(fn.out, c, buf, out)
	}
	h.many = func(ctx context.Context, c Codec, in []byte, items int, done func()) ([]byte, error) {
		vs, err := decodeItems[In](fn.in, c, in, items)
		if err != nil {
			return nil, fmt.Errorf("decoding the arguments: %w", err)
		}
		outs := make([]Out, 0, min(len(vs), len(in)+1)) // items may be of no size
		for i, v := range vs {
			out, err := f(ctx, v)
			if err != nil {
				return nil, &itemError{i, err}
			}
			outs = append(outs, out)
			done()
		}
		return encodeAll(fn.out, c, outs)
	}
	registry.Lock()
	defer registry.Unlock()
	if old := registry.byID[fn.id]; old != nil {
		panic(fmt.Sprintf("pool: Register(%q): the name %q is taken", name, old.name))
	}
	registry.byID[fn.id] = h
	return fn
}

// An InitFunc is a function that workers run before their first call.
type InitFunc[A any] struct {
	run *proc.Func[initArgs[A]]
}

type initArgs[A any] struct {
	Worker workerArgs
	Init   A
}

// An Initializer is an InitFunc with its argument, for Config.Init.
type Initializer struct {
	start func(context.Context, *proc.Cmd, workerArgs) (*proc.Process, error)
}

// RegisterInit makes f known under a name, as Register does. A may be anything
// that package proc can pass to a child: queues, locks, values, files. They are
// the same objects in all workers and here. f keeps them in variables, where
// functions find them; if it fails, so does the worker's start. Its ctx ends
// with the worker.
func RegisterInit[A any](name string, f func(context.Context, A) error) *InitFunc[A] {
	return &InitFunc[A]{proc.Register("github.com/rawipc/rawipc/pool.init "+name, func(ctx context.Context, a initArgs[A]) error {
		return serveCalls(ctx, a.Worker, func() error { return f(ctx, a.Init) })
	})}
}

// With returns the function with an argument, which every worker gets: what it
// holds must stay open as long as the pool.
func (f *InitFunc[A]) With(a A) Initializer {
	return Initializer{func(ctx context.Context, cmd *proc.Cmd, w workerArgs) (*proc.Process, error) {
		return f.run.StartCmd(ctx, cmd, initArgs[A]{w, a})
	}}
}

// Name returns the name that f is registered under.
func (f *Func[In, Out]) Name() string { return f.name }

// nameID stands for a name in messages; Register finds two that collide.
func nameID(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

var (
	passer   = reflect.TypeFor[interface{ PassFiles() ([]*os.File, error) }]()
	fileType = reflect.TypeFor[*os.File]()
)

// findHandle returns the path of the first handle in t, or "".
func findHandle(t reflect.Type, path string, above []reflect.Type) string {
	for _, a := range above {
		if a == t {
			return "" // a recursive type: seen
		}
	}
	above = append(above, t)
	if t == fileType || t.Kind() != reflect.Interface && (t.Implements(passer) || reflect.PointerTo(t).Implements(passer)) {
		return path
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if found := findHandle(f.Type, path+"."+f.Name, above); found != "" {
				return found
			}
		}
	case reflect.Map:
		if found := findHandle(t.Key(), path+" key", above); found != "" {
			return found
		}
		return findHandle(t.Elem(), path+"[]", above)
	case reflect.Array, reflect.Slice:
		return findHandle(t.Elem(), path+"[]", above)
	case reflect.Pointer:
		return findHandle(t.Elem(), path, above)
	}
	return ""
}
