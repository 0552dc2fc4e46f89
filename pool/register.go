package pool

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"reflect"
	"sync"
)

// A Func is a function of this program that workers can run. It may be used by
// any number of goroutines and pools at once.
type Func[In, Out any] struct {
	name string
	id   uint64
	in   codec[In]
	out  codec[Out]
}

// handler is a registered function as a worker sees it: bytes in, bytes out.
// one serves Call, many a chunk of Map. The result is appended to buf.
type handler struct {
	name      string
	one, many func(ctx context.Context, in, buf []byte) ([]byte, error)
}

var registry = struct {
	sync.RWMutex
	byID map[uint64]*handler
}{byID: make(map[uint64]*handler)}

// Register makes f known under a name, so that workers can run it. It belongs
// into a package-level variable: workers are this program started again, and
// must come to know the same functions.
//
// In and Out may be anything that package gob can encode; []byte, string and
// types without pointers travel as they are, without an encoding. Register
// panics if the name is taken or if In or Out contain a handle (what package
// proc passes to a child, such as a ring or a file), naming its place: calls
// carry bytes, no descriptors.
func Register[In, Out any](name string, f func(context.Context, In) (Out, error)) *Func[In, Out] {
	fn := &Func[In, Out]{name: name, id: nameID(name), in: codecFor[In](), out: codecFor[Out]()}
	for _, t := range []reflect.Type{reflect.TypeFor[In](), reflect.TypeFor[Out]()} {
		if path := findHandle(t, t.String(), nil); path != "" {
			panic(fmt.Sprintf("pool: Register(%q): %s is a handle, and calls carry no descriptors", name, path))
		}
	}
	h := &handler{name: name}
	h.one = func(ctx context.Context, in, buf []byte) ([]byte, error) {
		v, err := fn.in.decode(in)
		if err != nil {
			return nil, fmt.Errorf("decoding the argument: %w", err)
		}
		out, err := f(ctx, v)
		if err != nil {
			return nil, err
		}
		return fn.out.append(buf, out)
	}
	h.many = func(ctx context.Context, in, buf []byte) ([]byte, error) {
		vs, err := fn.in.decodeAll(in)
		if err != nil {
			return nil, fmt.Errorf("decoding the arguments: %w", err)
		}
		outs := make([]Out, len(vs))
		for i, v := range vs {
			if outs[i], err = f(ctx, v); err != nil {
				return nil, &itemError{i, err}
			}
		}
		return fn.out.appendAll(buf, outs)
	}
	registry.Lock()
	defer registry.Unlock()
	if old := registry.byID[fn.id]; old != nil {
		panic(fmt.Sprintf("pool: Register(%q): the name %q is taken", name, old.name))
	}
	registry.byID[fn.id] = h
	return fn
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
