package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// ErrBroken is what calls return when a pool has given up: its workers die
// again and again before they had a single call. The error that wraps it tells
// how the last one ended.
var ErrBroken = errors.New("pool: workers keep dying")

// A WorkerError is the error of a call whose worker died. The call may have
// run in part, in whole, or not at all; no other call is touched.
type WorkerError struct {
	Func   string      // the function that was called
	Item   int         // the first argument of a Map that it was not done with, counted from 0
	Pid    int         // the worker's process id
	State  *proc.State // how it ended
	Stderr []byte      // the last 4 KiB of its standard error
	Err    error       // what package proc says of it, with the text of a crash

	at string // the item's number as text, in a Map
}

// Error says which function's worker ended and how: with the first line of a
// crash, or else with the end of what it wrote to its standard error.
func (e *WorkerError) Error() string {
	s := fmt.Sprintf("pool: %s%s: worker %d died: %v", e.Func, e.at, e.Pid, e.State)
	if x := (*proc.ExitError)(nil); errors.As(e.Err, &x) {
		if x.Msg != "" {
			s += ": " + x.Msg
		}
		// Without a message that went to the standard error.
		if line, _, _ := bytes.Cut(x.Crash, []byte("\n")); len(line) > 0 && !bytes.HasPrefix(line, []byte("goroutine ")) {
			return s + ": " + string(line)
		}
	}
	if text := strings.TrimSpace(string(e.Stderr)); text != "" {
		s += "; its standard error ends with:\n" + text
	}
	return s
}

// Unwrap returns what package proc says of the worker's end.
func (e *WorkerError) Unwrap() error { return e.Err }

// A TaskError is the error of a call whose function returned an error or
// panicked. The worker goes on. errors.Is and errors.As find in it what was
// registered by RegisterError.
type TaskError struct {
	Func  string
	Msg   string // the error's text, or the panic's value
	Item  int    // which argument of a Map it was, counted from 0
	Stack []byte // of a panic; nil for an error

	at     string // the item's number as text, in a Map
	causes []error
}

// Error is the function's name, the argument's number if it was one of many, and
// the message.
func (e *TaskError) Error() string { return fmt.Sprintf("pool: %s%s: %s", e.Func, e.at, e.Msg) }

// Unwrap returns the registered errors that the function's error was.
func (e *TaskError) Unwrap() []error { return e.causes }

var known = struct {
	sync.RWMutex
	errs map[string]error
}{errs: map[string]error{"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
	"io.EOF": io.EOF, "io.ErrUnexpectedEOF": io.ErrUnexpectedEOF, "fs.ErrNotExist": fs.ErrNotExist, "fs.ErrExist": fs.ErrExist,
	"fs.ErrPermission": fs.ErrPermission, "os.ErrClosed": os.ErrClosed, "os.ErrDeadlineExceeded": os.ErrDeadlineExceeded}}

// RegisterError lets an error that functions return keep its identity on its way
// to the caller. err is a value that errors.Is shall find, or one of a type that
// errors.As shall find: an error of that type then travels by package gob. It
// belongs into the initialisation of a package, and panics if the name is empty or
// taken or err nil. The usual errors of context, io and os are known already.
func RegisterError(name string, err error) {
	refuse("RegisterError", name, "error", err == nil)
	known.Lock()
	defer known.Unlock()
	if known.errs[name] != nil {
		panic(fmt.Sprintf("pool: RegisterError(%q): the name is taken", name))
	}
	known.errs[name] = err
}

// failure is an error on its way.
type failure struct {
	TaskError
	Causes map[string][]byte // registered name: nothing, or the error by gob
}

func failureOf(err error, item int) failure {
	f := failure{TaskError{Msg: err.Error(), Item: item}, make(map[string][]byte)}
	if p := (*panicError)(nil); errors.As(err, &p) {
		f.Stack = userStack(p.stack)
	}
	known.RLock()
	defer known.RUnlock()
	for name, k := range known.errs {
		to := reflect.New(reflect.TypeOf(k))
		if errors.Is(err, k) {
			f.Causes[name] = nil
		} else if errors.As(err, to.Interface()) {
			if data, err := marshal(gob, to.Interface()); err == nil {
				f.Causes[name] = data
			}
		}
	}
	return f
}

// task is the error for the caller of the function name. What of it can't be
// decoded is left out.
func (f *failure) task(name string) error {
	f.Func = name
	known.RLock()
	defer known.RUnlock()
	for name, data := range f.Causes {
		cause := known.errs[name]
		if cause != nil && len(data) > 0 {
			to := reflect.New(reflect.TypeOf(cause))
			if unmarshal(gob, data, to.Interface()) != nil {
				continue
			}
			cause = to.Elem().Interface().(error)
		}
		if cause != nil {
			f.causes = append(f.causes, cause)
		}
	}
	return &f.TaskError
}

// gob carries errors, whatever the pool's codec is.
var gob, _ = shm.LookupCodec("")

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// userStack cuts the frames of the recovery off, so that the function which
// panicked stands on top.
func userStack(stack []byte) []byte {
	return regexp.MustCompile(`(?s)\n.*\npanic\(.*?\n.*?\n`).ReplaceAll(stack, []byte("\n"))
}
