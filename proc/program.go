package proc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start runs the program cmd.Path in a new process. What is said of functions
// holds for it, too: it dies with this process, ctx governs it, it gets no
// descriptor but stdio and cmd.Files, and Wait tells how it ended, but for what
// only a function's process can tell: [ExitError.Msg] and [ExitError.Crash] stay
// empty. A program that sets user or group id on execution, or has capabilities,
// loses "dies with its parent": the kernel clears that.
//
// It blocks until the program is loaded. If ctx ends first, the error is
// ctx.Err(); later it ends the process, by SIGTERM and cmd.WaitDelay later by
// SIGKILL. An error of execve(2) is an *os.PathError: os.ErrNotExist,
// os.ErrPermission, syscall.ENOEXEC for what is no program, syscall.E2BIG for
// arguments that are too long. Any number of goroutines may call it.
func Start(ctx context.Context, cmd *Cmd) (*Process, error) {
	mustHave(ctx)
	if cmd == nil || cmd.Path == "" {
		return nil, errors.New("proc: start: field Path of Cmd is empty: want a program's path")
	}
	name := cmd.label()
	prog, err := cmd.program()
	if err == nil && prog.aided {
		err = ready(ctx) // it is this program first
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("proc: start %s: %w", name, err)
	}
	args := &payload{prog: prog}
	defer args.close()
	p, err := start(ctx, cmd, args)
	if err != nil {
		return nil, fmt.Errorf("proc: start %s: %w", name, err)
	}
	return p, nil
}

// program is what is executed.
type program struct {
	path string
	argv []string
	// The child is a copy of this program first, which does what the standard
	// library's fork and exec does not, and executes path then.
	aided bool
}

func (c *Cmd) program() (*program, error) {
	p := &program{path: c.Path, argv: c.Args}
	if len(p.argv) == 0 {
		p.argv = []string{c.Path}
	}
	for i, arg := range append([]string{p.path}, p.argv...) {
		if strings.IndexByte(arg, 0) < 0 {
			continue
		}
		if i == 0 {
			return nil, fmt.Errorf("field Path is %q: it has a NUL byte", arg)
		}
		return nil, fmt.Errorf("field Args[%d] is %q: it has a NUL byte", i-1, arg)
	}
	// In a PID namespace nobody but a copy of us can find out that its parent
	// ended before "dies with its parent" was armed: see execute.
	p.aided = c.Limits != (Limits{}) || c.Tree && (c.Sys == nil || !c.Sys.UseCgroupFD)
	return p, nil
}

// label is the process's name.
func (c *Cmd) label() string {
	if c.Name != "" {
		return c.Name
	}
	return filepath.Base(c.Path)
}

// marshal writes argv behind the path.
func (p *program) marshal() (b []byte) {
	for _, s := range append([]string{p.path}, p.argv...) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func parseProgram(b []byte) (*program, error) {
	var all []string
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, errRequest
		}
		all = append(all, string(b[size:][:n]))
		b = b[size:][n:]
	}
	if len(all) < 2 {
		return nil, errRequest
	}
	return &program{path: all[0], argv: all[1:]}, nil
}

// execute becomes the program of r; it returns only if that fails, and an errno
// if it is the kernel that refuses the program.
func (r *request) execute() error {
	p, err := parseProgram(r.shape)
	if err != nil {
		return err
	}
	for i := range r.names {
		if _, err := unix.FcntlInt(uintptr(fdFiles+i), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	im, err := newImage(p)
	if err != nil {
		return err
	}
	// This always fails, after it has put the soft limit of files back that Go
	// raised at the start of this process; only the standard library knows it.
	syscall.Exec("", nil, nil)
	// Under limits of memory this runtime may also be dead at the next thread it
	// wants. It wants none while its one processor is busy here.
	runtime.GOMAXPROCS(1)
	// The signal at the parent's death is the thread's that will be the process.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(r.deathSig), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	// If it died before, nobody reads the hello.
	if !sayHello(helloExec, "") {
		os.Exit(exitCrash)
	}
	if err := setLimits(r.limits); err != nil {
		return err
	}
	return im.exec()
}
