package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Child is this process, as its parent made it. It does not change.
type Child struct {
	name   string
	parent int // 0: unknown
	files  map[string]*os.File
}

// me is set by Dispatch, before anything else can look.
var me *Child

// Self returns what this process knows of itself. In a process that was not made
// to run a function its name is the program's and it has no parent. It does not
// block and may be called concurrently, in a child from Dispatch on.
func Self() *Child {
	if me == nil {
		return &Child{name: filepath.Base(append(os.Args, "")[0])}
	}
	return me
}

// Name returns [Cmd.Name], or the function's name.
func (c *Child) Name() string { return c.name }

// File returns the file of that name in [Cmd.Files], or nil. It is one object,
// the caller's to close.
func (c *Child) File(name string) *os.File { return c.files[name] }

// Parent returns a descriptor of the process that started this one by
// [Func.Start]: it tells when that ends, and can signal it. The caller closes it.
// The error is os.ErrProcessDone if the parent has ended, and errors.ErrUnsupported
// if this process was not made to run a function, is in a PID namespace of its
// own ([Cmd.Tree]), or if the kernel has no pidfds.
func (c *Child) Parent() (*PidFD, error) {
	if c.parent == 0 {
		return nil, fmt.Errorf("proc: parent of %s: not known: %w", c.name, errors.ErrUnsupported)
	}
	if os.Getppid() != c.parent {
		return nil, os.ErrProcessDone
	}
	f, err := OpenPidFD(c.parent)
	// If it is still the parent it was when the descriptor was made.
	if err == nil && os.Getppid() != c.parent {
		f.Close()
		return nil, os.ErrProcessDone
	}
	return f, err
}
