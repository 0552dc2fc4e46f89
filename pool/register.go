package pool

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"
	"sync"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// A Func is a function of this program that workers can run. It may be used by
// any number of goroutines and pools at once.
type Func[In, Out any] struct {
	*handler
	in, out   form
	ins, outs form // of chunks
}

// handler is a registered function as a worker sees it. one serves Call, many a
// chunk of Map: both receive the argument, and reply unless there is an error.
type handler struct {
	name      string
	id        uint64
	unfit     string // what gob can't carry of it
	one, many func(context.Context, *server) error
	forget    func() // drops what a large chunk has left, before another function's turn
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
// In and Out may be anything that package gob can encode, or the pool's codec;
// []byte, string and types without pointers travel as they are, without an
// encoding: a GobEncode that they have is not called. Of what gob encodes only the
// exported fields travel, and it must not contain itself, which gob would follow
// until the stack is full. A nil pointer arrives as one; among the arguments or
// results of a Map gob refuses it (a struct with a pointer in it is no such), and
// nil slices and maps may arrive as empty ones. A []byte that f gets is valid until
// f returns.
//
// Register panics if the name is empty or taken, if f is nil, or if In or Out
// contain a handle (what package proc passes to a child, such as a ring or a file),
// naming its place: calls carry bytes, no descriptors. Those go to workers by
// RegisterInit. If they contain a func or a chan, calls to a pool that uses gob
// return an error which names its place.
func Register[In, Out any](name string, f func(context.Context, In) (Out, error)) *Func[In, Out] {
	refuse("Register", name, "function", f == nil)
	in, out := reflect.TypeFor[In](), reflect.TypeFor[Out]()
	if path := cmp.Or(shm.HandleIn(in), shm.HandleIn(out)); path != "" {
		panic(fmt.Sprintf("pool: Register(%q): %s is a handle, and calls carry no descriptors: pass it to the workers by RegisterInit", name, path))
	}
	h := &handler{name: name, id: nameID(name), unfit: cmp.Or(shm.StuckIn(in), shm.StuckIn(out))}
	fn := &Func[In, Out]{h, formOf[In](), formOf[Out](), formOfAll[In](), formOfAll[Out]()}
	h.one = func(ctx context.Context, s *server) error { return serve(ctx, s, fn.in, fn.out, f) }
	var used []Out // by the last chunk, and by the next; a worker serves one at a time
	h.many = func(ctx context.Context, s *server) error {
		return serve(ctx, s, fn.ins, fn.outs, func(ctx context.Context, ins []In) ([]Out, error) {
			outs := thin(used, fn.outs.size)[:0]
			if fn.ins.size > 0 { // else their number is only claimed
				outs = slices.Grow(outs, len(ins))
			}
			for i, in := range ins {
				s.item = i
				out, err := f(ctx, in)
				if err != nil {
					return nil, err
				}
				outs = append(outs, out)
				more(s.done)
			}
			if fn.outs.items {
				used = outs
			}
			return outs, nil
		})
	}
	h.forget = func() { used = thin(used[:0], fn.outs.size) }
	registry.Lock()
	defer registry.Unlock()
	if old := registry.byID[h.id]; old != nil {
		panic(fmt.Sprintf("pool: Register(%q): the name %q is taken", name, old.name))
	}
	registry.byID[h.id] = h
	return fn
}

// refuse panics if what is to be registered has no name, or is nil.
func refuse(by, name, what string, missing bool) {
	if name == "" {
		panic("pool: " + by + ": empty name")
	} else if missing {
		panic(fmt.Sprintf("pool: %s(%q): nil %s", by, name, what))
	}
}

// An InitFunc is a function that workers run before their first call. With may be
// called concurrently.
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
// with the worker. RegisterInit panics if the name is empty or taken, if f is nil,
// or if A holds what can't be passed.
func RegisterInit[A any](name string, f func(context.Context, A) error) *InitFunc[A] {
	refuse("RegisterInit", name, "function", f == nil)
	return initFunc("rawipc/pool worker with Init "+name, f)
}

func initFunc[A any](name string, f func(context.Context, A) error) *InitFunc[A] {
	return &InitFunc[A]{proc.Register(name, func(ctx context.Context, a initArgs[A]) error {
		return work(ctx, a.Worker, func() error { return f(ctx, a.Init) })
	})}
}

var (
	noInit = initFunc("rawipc/pool worker", func(context.Context, struct{}) error { return nil })
	// initCall is the first that every worker gets: it runs its Init.
	initCall = &handler{name: "Init", id: 1}
	nothing  = formOf[struct{}]()
)

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
