package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoDispatch says that a function can't be started because this program does
// not reach [Dispatch], or not before it calls Start.
var ErrNoDispatch = errors.New("call proc.Dispatch first in main (or TestMain)")

// helloTimeout bounds the time from exec to Dispatch: the initialisation of the
// program's packages and the decoding of the argument.
const helloTimeout = 30 * time.Second

// dispatched is set by Dispatch in a process that may start others.
var dispatched atomic.Bool

// ready refuses a Start that can't work. A child that has not reached Dispatch,
// because main starts processes first, would else start a child that does the
// same, and so on without end.
func ready(ctx context.Context) error {
	if !dispatched.Load() {
		if _, ok := os.LookupEnv(envMark); ok {
			return fmt.Errorf("this is itself a child that was started for a function, and has not run it: %w", ErrNoDispatch)
		}
		return ErrNoDispatch
	}
	return ctx.Err()
}

// start makes the process for args and waits for its hello.
func start(ctx context.Context, cmd *Cmd, args *payload) (*Process, error) {
	if cmd == nil {
		cmd = new(Cmd)
	}
	p := &Process{name: cmd.Name, done: make(chan struct{}), report: -1}
	if p.name == "" {
		p.name = args.fn
	}
	var err error
	if p.delay, err = cmd.delay(); err != nil {
		return nil, err
	}
	var pidfd int
	req := &spawnRequest{path: self, argv: os.Args, attr: &syscall.ProcAttr{Dir: cmd.Dir}}
	if len(req.argv) == 0 {
		req.argv = []string{self}
	}
	if req.cpus, err = cmd.cpuSet(); err != nil {
		return nil, err
	}
	if req.attr.Sys, err = cmd.sysAttr(&pidfd); err != nil {
		return nil, err
	}
	if req.attr.Env, err = cmd.environ(formatMark(fdFiles - fdRequest + len(args.fds))); err != nil {
		return nil, err
	}
	fds, err := cmd.stdio()
	defer func() { closeAll(fds) }()
	if err != nil {
		return nil, err
	}
	hello, err := p.channels(&fds, args)
	if err != nil {
		return nil, err
	}
	defer hello.Close()
	for _, fd := range slices.Concat(fds, args.fds) {
		req.attr.Files = append(req.attr.Files, uintptr(fd))
	}
	if p.pid, err = spawn(ctx, req); err != nil {
		unix.Close(p.report)
		return nil, err
	}
	// The child has its own: while these are open, the end of the child is not
	// the end of the hello.
	closeAll(fds)
	fds = nil
	p.adopt(pidfd)
	hello.SetReadDeadline(time.Now().Add(helloTimeout))
	p.govern(ctx)
	go p.reap(func() { hello.SetReadDeadline(past) })
	if err := p.awaitHello(ctx, hello); err != nil {
		p.Kill()
		<-p.done
		p.Release()
		return nil, err
	}
	return p, nil
}

// channels creates the child's descriptors after stdio and appends them to fds.
// It returns our end of the hello; p keeps its own duplicate of the report.
func (p *Process) channels(fds *[]int, args *payload) (*os.File, error) {
	fd, err := sealed("proc-request", args.marshal())
	if err != nil {
		return nil, err
	}
	*fds = append(*fds, fd)
	fd, err = memfd("proc-report")
	if err != nil {
		return nil, err
	}
	*fds = append(*fds, fd)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	*fds = append(*fds, pipe[1])
	unix.SetNonblock(pipe[0], true)
	hello := os.NewFile(uintptr(pipe[0]), "hello")
	if p.report, err = dup(fd); err != nil {
		hello.Close()
		return nil, err
	}
	return hello, nil
}
