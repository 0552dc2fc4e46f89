package proc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
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

// mustHave panics for a nil context, before anything is taken or made for it.
func mustHave(ctx context.Context) {
	if ctx == nil {
		panic("proc: nil context")
	}
}

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

// launch is a process in the making.
type launch struct {
	p     *Process
	spawn spawnRequest
	fds   []int // the child's, from 0 on
	pidfd int
	hello *os.File // nil: the child is a program that does not say any
}

// start makes the process for args and waits for its hello.
func start(ctx context.Context, cmd *Cmd, args *payload) (*Process, error) {
	l := &launch{p: &Process{name: cmp.Or(cmd.Name, args.fn), done: make(chan struct{}), report: -1}}
	defer l.release()
	if err := l.prepare(cmd, args); err != nil {
		l.p.forget()
		return nil, err
	}
	p := l.p
	if args.prog != nil {
		p.name, p.path = cmd.label(), cmd.Path
	}
	var err error
	if p.pid, err = spawn(ctx, &l.spawn); err != nil {
		p.forget()
		return nil, err
	}
	// The child has its own: while these are open, the end of the child is not
	// the end of the hello.
	closeAll(l.fds)
	l.fds = nil
	p.adopt(l.pidfd)
	p.memory = watch(l.spawn.attr.Sys) // while the child makes its way
	p.starting = args.prog == nil
	hello := l.hello
	hello.SetReadDeadline(time.Now().Add(helloTimeout)) // nil is fine
	woken := func() { hello.SetReadDeadline(past) }
	p.govern(ctx)
	children.add(p)
	go p.reap(woken)
	if l.hello == nil {
		return p, nil
	}
	if err := p.awaitHello(ctx, hello, args.prog != nil); err != nil {
		p.Kill()
		<-p.done
		p.Release()
		return nil, err
	}
	if args.prog == nil {
		l.hello = p.keepHello(hello)
	}
	return p, nil
}

// prepare fills everything in up to the fork.
func (l *launch) prepare(cmd *Cmd, args *payload) (err error) {
	if l.p.delay, err = cmd.delay(); err != nil {
		return err
	}
	if l.spawn.cpus, err = cmd.cpuSet(); err != nil {
		return err
	}
	limits, err := cmd.Limits.marshal()
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{Dir: cmd.Dir}
	if attr.Sys, err = cmd.sysAttr(&l.pidfd); err != nil {
		return err
	}
	if err := l.p.plant(cmd); err != nil {
		return err
	}
	extra, err := cmd.extra()
	if err != nil {
		return err
	}
	for _, f := range extra {
		args.names, args.fds = append(args.names, f.name), append(args.fds, f.fd)
	}
	if l.fds, err = cmd.stdio(); err != nil {
		return err
	}
	l.spawn.attr, l.spawn.tree = attr, cmd.Tree
	aided := args.prog == nil || args.prog.aided
	l.spawn.path, l.spawn.argv = self, os.Args
	if !aided {
		l.spawn.path, l.spawn.argv = args.prog.path, args.prog.argv
	} else if len(l.spawn.argv) == 0 {
		l.spawn.argv = []string{self}
	}
	if aided {
		r := &request{
			fn: args.fn, name: l.p.name, limits: limits, extra: len(extra), deathSig: attr.Sys.Pdeathsig,
			shape: args.shape, gob: args.gob, names: args.names,
		}
		if attr.Sys.Cloneflags&unix.CLONE_NEWPID == 0 {
			r.parent = os.Getpid()
		}
		if args.prog != nil {
			r.shape = args.prog.marshal()
		}
		if err := l.channels(r.marshal()); err != nil {
			return err
		}
	}
	first := len(l.fds)
	l.fds = append(l.fds, args.fds...)
	args.fds = nil
	var own []string
	if args.prog != nil {
		for i, f := range extra {
			own = append(own, f.name+"="+strconv.Itoa(first+i))
		}
	}
	if aided {
		own = append(own, envMark+"="+formatMark(len(l.fds)-fdRequest))
	}
	if attr.Env, err = cmd.environ(own); err != nil {
		return err
	}
	attr.Files = make([]uintptr, len(l.fds))
	for i, fd := range l.fds {
		attr.Files[i] = uintptr(fd)
	}
	// What this process inherited was meant for it: the child closes it.
	for i := len(l.fds); i <= inherited(); i++ {
		attr.Files = append(attr.Files, ^uintptr(0))
	}
	return nil
}

// channels creates the descriptors of a child that is this program; p keeps its
// own duplicate of the report.
func (l *launch) channels(request []byte) error {
	fd, err := sealed("proc-request", request)
	if err != nil {
		return err
	}
	l.fds = append(l.fds, fd)
	if fd, err = memfd("proc-report"); err != nil {
		return err
	}
	l.fds = append(l.fds, fd)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	l.fds = append(l.fds, pipe[1])
	unix.SetNonblock(pipe[0], true)
	l.hello = os.NewFile(uintptr(pipe[0]), "hello")
	if err := l.hello.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("the poller refuses a pipe: %w", err) // nothing could end the wait
	}
	l.p.report, err = dup(fd)
	return err
}

// release gives back what Start itself needed.
func (l *launch) release() {
	closeAll(l.fds)
	if l.hello != nil {
		l.hello.Close()
	}
}
