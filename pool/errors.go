package pool

import (
	"errors"
	"fmt"

	"github.com/rawipc/rawipc/proc"
)

// ErrBroken is what calls return when a pool has given up: its workers die
// again and again before they have served a single call. The error that wraps
// it tells how the last one ended.
var ErrBroken = errors.New("pool: workers keep dying")

// A WorkerError is the error of a call whose worker died. The call may have
// run in part, in whole, or not at all; no other call is touched.
type WorkerError struct {
	Func  string      // the function that was called
	Pid   int         // the worker's process id
	State *proc.State // how it ended
	Err   error       // what package proc says of it, with the text of a crash
}

func (e *WorkerError) Error() string {
	what := "pool: "
	if e.Func != "" {
		what += e.Func + ": "
	}
	if e.Err != nil {
		return fmt.Sprintf("%sworker %d died: %v", what, e.Pid, e.Err)
	}
	return fmt.Sprintf("%sworker %d ended: %v", what, e.Pid, e.State)
}

// Unwrap returns what package proc says of the worker's end.
func (e *WorkerError) Unwrap() error { return e.Err }

// A TaskError is the error of a call whose function returned an error or
// panicked. The worker goes on.
type TaskError struct {
	Func  string
	Msg   string // the error's text, or the panic's value
	Item  int    // which argument of Map it was, else 0
	Stack []byte // of a panic; nil for an error
}

func (e *TaskError) Error() string { return fmt.Sprintf("pool: %s: %s", e.Func, e.Msg) }

// itemError tells which item of a chunk failed.
type itemError struct {
	item int
	err  error
}

func (e *itemError) Error() string { return e.err.Error() }
func (e *itemError) Unwrap() error { return e.err }
