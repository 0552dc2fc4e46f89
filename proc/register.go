package proc

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"sync"
)

// Func is a function that can be started in a process of its own. All methods
// may be called concurrently.
type Func[A any] struct {
	name string
	run  func(context.Context, A) error
	plan func() (*plan, error) // how a box[A] travels
}

// box holds the argument as a field, so that what gob refuses as a whole message
// (a nil pointer, an interface) travels as what it accepts: a field.
type box[A any] struct{ V A }

// callee is a registered function as Dispatch sees it.
type callee interface {
	// bind decodes the argument and returns the call that is to be made.
	bind(*request) (func(context.Context) error, error)
}

var registry = struct {
	mu    sync.Mutex
	funcs map[string]callee
}{funcs: make(map[string]callee)}

// Register makes f known under name and returns the handle to start it with.
// Call it in the initialisation of a package variable: child processes must have
// registered the same name before they reach [Dispatch].
//
// It panics if name is empty or taken, if f is nil, or if A holds what cannot
// travel (a func, a chan, a handle in an unexported field, a map or an
// interface); the message names the field. It does not block and may be called
// concurrently.
func Register[A any](name string, f func(context.Context, A) error) *Func[A] {
	if name == "" {
		panic("proc: Register: empty name")
	}
	if f == nil {
		panic(fmt.Sprintf("proc: Register %q: nil function", name))
	}
	fn := &Func[A]{name: name, run: f, plan: sync.OnceValues(func() (*plan, error) {
		return newPlan(reflect.TypeFor[box[A]]())
	})}
	// A child looks at the one type that it gets: its parent, the same program,
	// has looked at all.
	if _, child := os.LookupEnv(envMark); !child {
		if _, err := fn.plan(); err != nil {
			panic(fmt.Sprintf("proc: Register %q: %v", name, err))
		}
	}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if _, ok := registry.funcs[name]; ok {
		panic(fmt.Sprintf("proc: Register %q: the name is taken", name))
	}
	registry.funcs[name] = fn
	return fn
}

// RegisterMethod is Register for a struct of arguments with a method:
//
//	var work = proc.RegisterMethod("work", Worker.Run)
//	p, err := work.Start(ctx, Worker{Queue: q, Shard: 3})
//
// It panics as [Register] does.
func RegisterMethod[R any](name string, run func(R, context.Context) error) *Func[R] {
	if run == nil {
		panic(fmt.Sprintf("proc: Register %q: nil function", name))
	}
	return Register(name, func(ctx context.Context, r R) error { return run(r, ctx) })
}

// Name returns the name that f was registered under.
func (f *Func[A]) Name() string { return f.name }

// Start runs f(ctx, a) in a new process: [Func.StartCmd] with an empty [Cmd]. It
// blocks until the child has its arguments; the end of ctx ends the child.
func (f *Func[A]) Start(ctx context.Context, a A) (*Process, error) {
	return f.StartCmd(ctx, nil, a)
}

// StartCmd runs f(ctx, a) in a new process made as cmd says; nil means an empty
// Cmd. The ctx of the function in the child is another one: it is cancelled by
// SIGTERM.
//
// It blocks until the child has decoded its argument and is about to call the
// function, or has failed to: then the error says why and no process is left.
// If ctx ends first, the child is killed and the error is ctx.Err(). After
// StartCmd has returned, ctx governs the process: when it ends the child gets
// SIGTERM, and SIGKILL cmd.WaitDelay later.
//
// The error is [ErrNoDispatch] if this program does not call [Dispatch] first.
// Any number of goroutines may call it.
func (f *Func[A]) StartCmd(ctx context.Context, cmd *Cmd, a A) (*Process, error) {
	mustHave(ctx)
	if err := ready(ctx); err != nil {
		return nil, fmt.Errorf("proc: start %s: %w", f.name, err)
	}
	plan, err := f.plan()
	if err != nil {
		return nil, fmt.Errorf("proc: start %s: %w", f.name, err)
	}
	args, err := plan.encode(reflect.ValueOf(&box[A]{a}).Elem())
	if err != nil {
		return nil, fmt.Errorf("proc: start %s: %w", f.name, err)
	}
	defer args.close()
	if cmd == nil {
		cmd = new(Cmd)
	}
	if cmd.Path != "" || cmd.Args != nil {
		return nil, fmt.Errorf("proc: start %s: field Path or Args is set: a function's program is this one, see proc.Start", f.name)
	}
	args.fn = f.name
	p, err := start(ctx, cmd, args)
	if err != nil {
		return nil, fmt.Errorf("proc: start %s: %w", f.name, err)
	}
	return p, nil
}

func (f *Func[A]) bind(r *request) (func(context.Context) error, error) {
	plan, err := f.plan()
	if err != nil {
		return nil, err
	}
	var b box[A]
	if err := plan.decode(r, reflect.ValueOf(&b).Elem()); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return f.run(ctx, b.V) }, nil
}
