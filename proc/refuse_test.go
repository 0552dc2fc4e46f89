package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
)

type loop struct {
	Name string
	Next *loop
	Any  any
}

// unheard is a type that gob has not heard of.
type unheard struct{ Word string }

type tree struct {
	Kids []tree
	Log  *os.File
}

var (
	looped   = proc.Register("looped", func(context.Context, loop) error { return nil })
	grown    = proc.Register("grown", func(_ context.Context, t tree) error { _, err := t.Kids[1].Kids[0].Log.WriteString("leaf"); return err })
	takes    = proc.Register("takes", func(context.Context, *port[int]) error { return nil })
	unsent   = proc.Register("unsent", func(context.Context, struct{ n int }) error { return nil })
	lateName = "registered by the parent only"
)

var registerLate = sync.OnceValue(func() *proc.Func[struct{}] { // once even with -count
	return proc.Register(lateName, func(context.Context, struct{}) error { return nil })
})

func TestRecursiveArgument(t *testing.T) {
	r, w := oneWay(t)
	p := started(t, grown, nil, tree{Kids: []tree{{}, {Kids: []tree{{Log: w}}}}})
	w.Close()
	if b, err := io.ReadAll(r); string(b) != "leaf" || err != nil {
		t.Errorf("from a leaf: %q, %v", b, err)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Error(err)
	}
}

func TestStartRefuses(t *testing.T) {
	ring := &loop{}
	ring.Next = &loop{Next: ring}
	kids := []any{nil}
	kids[0] = kids
	closed, w := oneWay(t)
	closed.Close()
	start := func(p *proc.Process, err error) error {
		if p != nil {
			p.Kill()
		}
		return err
	}
	late := registerLate()
	ctx := context.Background()
	tests := []struct {
		name string
		err  error
		want string
		is   error
	}{
		{"a ring", start(looped.Start(ctx, *ring)), "loop.Next.Next.Next (*proc_test.loop) contains itself", nil},
		{"a slice that holds itself", start(looped.Start(ctx, loop{Any: kids})), "contains itself", nil},
		{"a handle in an interface", start(looped.Start(ctx, loop{Any: os.Stdout})), "loop.Any is a handle (*os.File) in an interface", nil},
		{"a func in an interface", start(looped.Start(ctx, loop{Any: func() {}})), "loop.Any is a func", nil},
		{"an unregistered type in an interface", start(looped.Start(ctx, loop{Any: unheard{}})), "not registered", nil},
		{"a closed file", start(echoFile.Start(ctx, closed)), "argument: file already closed", os.ErrClosed},
		{"a closed file further in", start(grown.Start(ctx, tree{Kids: []tree{{Log: closed}}})), "argument.Kids[0].Log: file already closed", os.ErrClosed},
		{"a handle that can't be passed", start(takes.Start(ctx, &port[int]{})), "port: not open", nil},
		{"a handle that can't be taken", start(takes.Start(ctx, &port[int]{files: []*os.File{w, w, w, w}})), "port: 4 files: want at most 3", nil},
		{"a nil file in a handle", start(takes.Start(ctx, &port[int]{files: []*os.File{nil}})), "its PassFiles gave a nil file: invalid argument", os.ErrInvalid},
		{"nothing exported", start(unsent.Start(ctx, struct{ n int }{1})), "no exported fields", nil},
		{"a name that the child does not know", start(late.Start(ctx, struct{}{})), fmt.Sprintf("no function %q", lateName), nil},
		{"a negative CPU", start(nothing.StartCmd(ctx, &proc.Cmd{CPUs: []int{-1}}, struct{}{})), "CPUs has -1: want 0 to 1023", nil},
		{"no CPU", start(nothing.StartCmd(ctx, &proc.Cmd{CPUs: []int{}}, struct{}{})), "CPUs is empty", nil},
		{"a CPU that is not there", start(nothing.StartCmd(ctx, &proc.Cmd{CPUs: []int{1023}}, struct{}{})), "field CPUs is [1023]: none of them is there for this process (the machine has 0", syscall.EINVAL},
		{"a negative delay", start(nothing.StartCmd(ctx, &proc.Cmd{WaitDelay: -1}, struct{}{})), "WaitDelay is -1ns: want 0", nil},
		{"a NUL in the environment", start(nothing.StartCmd(ctx, &proc.Cmd{Env: []string{"A=b\x00c"}}, struct{}{})), `Env[0] is "A=b\x00c": it has a NUL`, nil},
		{"no equals sign", start(nothing.StartCmd(ctx, &proc.Cmd{Env: []string{"A"}}, struct{}{})), `Env[0] is "A": want key=value`, nil},
		{"no such directory", start(nothing.StartCmd(ctx, &proc.Cmd{Dir: "/nowhere"}, struct{}{})), "chdir /nowhere", os.ErrNotExist},
		{"tracing", start(nothing.StartCmd(ctx, &proc.Cmd{Sys: &syscall.SysProcAttr{Ptrace: true}}, struct{}{})), "Sys.Ptrace", nil},
		{"a pidfd by itself", start(nothing.StartCmd(ctx, &proc.Cmd{Sys: &syscall.SysProcAttr{PidFD: new(int)}}, struct{}{})), "Sys.PidFD is set: use Process.SyscallConn", nil},
		{"a handle as a key", start(looped.Start(ctx, loop{Any: map[any]int{os.Stdout: 1}})), "loop.Any[key] is a handle (*os.File) in an interface", nil},
		{"a func in a map", start(looped.Start(ctx, loop{Any: map[string]any{"a": func() {}}})), "loop.Any[] is a func", nil},
		{"more files than the kernel has", start(nothing.StartCmd(ctx, &proc.Cmd{Limits: proc.Limits{Files: 1 << 40}}, struct{}{})), "field Limits.Files is 1099511627776 (at most ", nil},
		{"a closed standard input", start(nothing.StartCmd(ctx, &proc.Cmd{Stdin: closed}, struct{}{})), "Stdin: file already closed", os.ErrClosed},
	}
	before := descriptors(t)
	for _, tt := range tests {
		if strings.Contains(tt.name, "CPU that") && (fuzz.Without("sched_setaffinity") || fuzz.Without("sched_getaffinity")) {
			continue
		}
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) || !strings.HasPrefix(tt.err.Error(), "proc: start ") {
			t.Errorf("%s: %v, want %q in it", tt.name, tt.err, tt.want)
		}
		if tt.is != nil && !errors.Is(tt.err, tt.is) {
			t.Errorf("%s: %v is not %v", tt.name, tt.err, tt.is)
		}
	}
	if after := descriptors(t); !reflect.DeepEqual(after, before) {
		t.Errorf("descriptors before: %v\nafter: %v", before, after)
	}
	noChildren(t)
}
