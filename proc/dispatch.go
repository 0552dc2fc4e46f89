package proc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit statuses of a child, beside those that its function chooses by os.Exit.
const (
	exitError = 1 // the function returned an error
	exitCrash = 2 // as the runtime's after a panic: also if Dispatch fails
)

// Dispatch has to be the first call in main, or in TestMain. In a process that
// was made by Start it runs the function and never returns: the process exits
// with status 0 if the function returned nil, with 1 if it returned an error,
// and with 2 if it panicked. In any other process it returns at once.
//
// In a child it takes the descriptors that came with the argument, so that
// nothing the function starts inherits them, sets the [Limits], removes its
// environment variable, and lets SIGTERM cancel the function's context. It uses
// [debug.SetCrashOutput] to save the text of a crash for the parent: a function
// that sets another crash output takes that text away from [ExitError].
func Dispatch() {
	if mark, ok := os.LookupEnv(envMark); ok && !dispatched.Load() {
		serve(mark)
	}
	dispatched.Store(true)
}

// serve is the life of a child.
func serve(mark string) {
	os.Unsetenv(envMark)
	n, err := parseMark(mark)
	if err != nil {
		fmt.Fprintf(os.Stderr, "proc: %v\n", err)
		os.Exit(exitCrash)
	}
	closeOnExec(fdRequest, n)
	req, err := readRequest(fdRequest, n-(fdFiles-fdRequest))
	if err != nil {
		// Whatever the other descriptors are, they are not ours to write to.
		fmt.Fprintf(os.Stderr, "proc: %v\n", err)
		os.Exit(exitCrash)
	}
	unix.Close(fdRequest)
	if req.fn == "" {
		err := req.execute()
		if errno, ok := err.(syscall.Errno); ok {
			sayHello(helloErrno, string(binary.AppendUvarint(nil, uint64(errno))))
		} else {
			sayHello(helloError, err.Error())
		}
		os.Exit(exitCrash)
	}
	ctx := newTermination()
	report := os.NewFile(fdReport, "report")
	call, err := prepare(req, report)
	if err != nil {
		sayHello(helloError, err.Error())
		os.Exit(exitCrash)
	}
	dispatched.Store(true)
	if !sayHello(helloReady, "") {
		os.Exit(exitCrash) // the parent is gone, or gave up: nobody knows of us
	}
	run(ctx, call, report)
}

// prepare decodes the argument.
func prepare(req *request, report *os.File) (func(context.Context) error, error) {
	if err := debug.SetCrashOutput(report, debug.CrashOptions{}); err != nil {
		return nil, fmt.Errorf("set crash output: %w", err)
	}
	if err := setLimits(req.limits); err != nil {
		return nil, err
	}
	for i, name := range req.names {
		req.files = append(req.files, os.NewFile(uintptr(fdFiles+i), name))
	}
	me = &Child{name: req.name, parent: req.parent, files: make(map[string]*os.File)}
	handles := len(req.files) - req.extra
	for _, f := range req.files[handles:] {
		me.files[f.Name()] = f
	}
	req.files = req.files[:handles]
	registry.mu.Lock()
	f := registry.funcs[req.fn]
	registry.mu.Unlock()
	if f == nil {
		return nil, fmt.Errorf("no function %q is registered in the child: Register it in a package variable, or in main before proc.Dispatch", req.fn)
	}
	return f.bind(req)
}

// sayHello tells the parent, and reports whether it could be told.
func sayHello(kind byte, text string) bool {
	b := append([]byte{kind}, text...)
	b = b[:min(len(b), maxHello)]
	for {
		n, err := unix.Write(fdHello, b)
		if err != unix.EINTR {
			return n == len(b)
		}
	}
}

// run calls the function and exits. A panic is not recovered: its text with the
// stack is the runtime's to write.
func run(ctx context.Context, call func(context.Context) error, report *os.File) {
	defer func() {
		// After Goexit the main goroutine would be gone and the process stay.
		if exiting() {
			exit(report, errors.New("the function called runtime.Goexit"))
		}
	}()
	exit(report, call(ctx))
}

func exit(report *os.File, err error) {
	if err == nil {
		os.Exit(0)
	}
	writeReport(report, err.Error())
	os.Exit(exitError)
}

// exiting reports whether the deferred function that calls it was called by
// runtime.Goexit, and not by a panic.
func exiting() bool {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "runtime.gopanic") {
			return false
		}
		if f.Function == "runtime.Goexit" {
			return true
		}
		if !more {
			return false
		}
	}
}
