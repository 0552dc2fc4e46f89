package fuzz

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Faults are the options of FailEach. The zero value, or nil, is the default.
type Faults struct {
	// Errnos are what the calls fail with, one after the other. Default:
	// EINTR, ENOMEM, EMFILE, EPERM, and EXFULL, which nobody knows.
	Errnos []syscall.Errno

	// Also lists errors that the operation may return beside such as wrap the
	// errno: its own words for it.
	Also []error

	// Spare names calls that never fail, such as "munmap", or "futex_wake" for
	// the futex(2) that wakes: a kernel refuses it for a bad address only, and
	// whoever it was for would sleep on. "futex" is all of futex(2). close is
	// always spared: it frees the descriptor whatever it returns.
	Spare []string
}

// FailReport is what FailEach did.
type FailReport struct {
	Sites     int // system calls of the operation
	Rounds    int // calls refused: sites × errnos, unless the operation's length varies
	Tolerated int // after which the operation succeeded all the same

	// Without are the calls whose failure it survived, such as "3 fcntl EPERM".
	Without []string
}

// FailEach tries what an operation makes of a system call that fails. It calls
// round for every errno and n = 1, 2, 3 …, until the operation makes fewer than
// n calls. A round makes its objects, runs one operation by fail, in which the
// n-th system call is refused with the errno, and goes on undisturbed: it tries
// again, uses the object, closes everything, and returns an error if something
// is not as it should be. fail returns what the operation returned.
//
// A round fails the test if it returns an error; if something is left open
// behind it (see [Hold]); or if the operation's error wraps neither the errno
// in an *os.SyscallError or *os.PathError nor one of opts.Also. No error is
// well: some calls can be done without.
//
// The operation runs on a thread of its own, and only that thread's calls
// count, and of these not the Go runtime's. It must not start processes: these
// would be bound, too. A call that the operation leaves to another goroutine is
// not seen. TestMain must be [Main]. Where the kernel has no seccomp listeners
// (before 5.5), the test is skipped.
func FailEach(t testing.TB, opts *Faults, round Round) FailReport {
	t.Helper()
	if !canHelp {
		t.Fatal("fuzz: FailEach needs a helper process: let TestMain call fuzz.Main")
	}
	var o Faults
	if opts != nil {
		o = *opts
	}
	if o.Errnos == nil {
		o.Errnos = []syscall.Errno{unix.EINTR, unix.ENOMEM, unix.EMFILE, unix.EPERM, unix.EXFULL}
	}
	Tool(t, "seccomp")
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector's calls are not the operation's
	r, err := newRefuser(o.Spare)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var rep FailReport
	held, failures := Hold(), 0
	for _, errno := range o.Errnos {
		for n := 1; ; n++ {
			did, tolerated, failed := failOnce(t, r, &o, n, errno, round, &held)
			if failed {
				failures++
			}
			if failures == mostFailures {
				t.Fatalf("fuzz: FailEach: %d rounds failed, and that may be one mistake: the rest is left out", failures)
			}
			if !did.Hit {
				rep.Sites = max(rep.Sites, n-1)
				break
			}
			rep.Rounds++
			if tolerated {
				rep.Tolerated++
				rep.Without = append(rep.Without, fmt.Sprintf("%d %s %s", n, did.name(), unix.ErrnoName(errno)))
			}
			if n == mostSites {
				t.Fatalf("fuzz: FailEach: the operation makes more than %d system calls, or it retries a refused one for ever", n)
			}
		}
		runtime.GC()
	}
	return rep
}

// mostFailures ends a sweep in which each round meets what another one left.
const mostFailures = 5

// mostSites ends an operation that never does.
const mostSites = 500

// failOnce plays one round.
func failOnce(t testing.TB, r *refuser, o *Faults, n int, errno syscall.Errno, round Round, held **Holdings) (did refusal, tolerated, failed bool) {
	t.Helper()
	calls := 0
	var result, lost error
	watchdog := time.AfterFunc(failPatience, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("fuzz: %s: the round with %s at system call %d hangs", t.Name(), unix.ErrnoName(errno), n))
	})
	err := round(func(op func() error) error {
		if calls++; calls > 1 {
			return errors.New("fuzz: FailEach: fail is for one operation a round")
		}
		did, result, lost = r.run(n, errno, op)
		return result
	})
	watchdog.Stop()
	if errors.Is(lost, unix.EBUSY) {
		t.Skip("a container's manager listens to this process's system calls, and the kernel allows one listener")
	}
	if lost != nil {
		t.Fatal(lost)
	}
	where := fmt.Sprintf("%s at system call %d, %s", unix.ErrnoName(errno), n, did.name())
	if !did.Hit {
		where = fmt.Sprintf("undisturbed, %d system calls", did.Seen)
	}
	if err != nil {
		failed = true
		t.Errorf("%s: %v (the operation: %v)", where, err, result)
	}
	if did.Hit && result != nil && !o.typed(result, errno) {
		failed = true
		t.Errorf("%s: the operation returned %#v: %v", where, result, result)
	}
	if left := (*held).Leaks(); len(left) > 0 {
		failed = true
		t.Errorf("%s: left behind: %s (the operation: %v)", where, strings.Join(left, ", "), result)
		*held = Hold() // not the next round's
	}
	return did, did.Hit && result == nil, failed
}

// failPatience is after how long a round counts as hanging.
const failPatience = 60 * time.Second

// typed reports whether err says what it should.
func (o *Faults) typed(err error, errno syscall.Errno) bool {
	if slices.ContainsFunc(o.Also, func(want error) bool { return errors.Is(err, want) }) {
		return true
	}
	var call *os.SyscallError
	var path *os.PathError
	var link *os.LinkError
	return errors.Is(err, errno) && (errors.As(err, &call) || errors.As(err, &path) || errors.As(err, &link))
}

// name says which call was refused.
func (d refusal) name() string { return callName(d.Nr) }

func callName(nr uint32) string {
	for name, known := range callNames() {
		if nr == known {
			return name
		}
	}
	return fmt.Sprintf("number %d", nr)
}

// callNames are the calls that have names here: those of [Without], and some.
func callNames() map[string]uint32 {
	all := map[string]uint32{
		"close": unix.SYS_CLOSE, "openat": unix.SYS_OPENAT, "read": unix.SYS_READ, "write": unix.SYS_WRITE,
		"mmap": unix.SYS_MMAP, "munmap": unix.SYS_MUNMAP, "mremap": unix.SYS_MREMAP, "mprotect": unix.SYS_MPROTECT,
		"madvise": unix.SYS_MADVISE, "ftruncate": unix.SYS_FTRUNCATE, "fstat": unix.SYS_FSTAT, "fstatfs": unix.SYS_FSTATFS,
		"fcntl": unix.SYS_FCNTL, "ioctl": unix.SYS_IOCTL, "unlinkat": unix.SYS_UNLINKAT, "dup3": unix.SYS_DUP3,
		"epoll_ctl": unix.SYS_EPOLL_CTL, "epoll_create1": unix.SYS_EPOLL_CREATE1, "eventfd2": unix.SYS_EVENTFD2,
		"epoll_pwait": unix.SYS_EPOLL_PWAIT, "futex": unix.SYS_FUTEX, "futex_wake": futexWakes,
		"socket": unix.SYS_SOCKET, "socketpair": unix.SYS_SOCKETPAIR,
		"bind": unix.SYS_BIND, "listen": unix.SYS_LISTEN, "connect": unix.SYS_CONNECT, "accept4": unix.SYS_ACCEPT4,
		"sendmsg": unix.SYS_SENDMSG, "recvmsg": unix.SYS_RECVMSG, "recvfrom": unix.SYS_RECVFROM, "sendto": unix.SYS_SENDTO,
		"getsockopt": unix.SYS_GETSOCKOPT, "setsockopt": unix.SYS_SETSOCKOPT, "getsockname": unix.SYS_GETSOCKNAME,
		"getpeername": unix.SYS_GETPEERNAME, "shutdown": unix.SYS_SHUTDOWN, "pipe2": unix.SYS_PIPE2, "ppoll": unix.SYS_PPOLL,
		"pread64": unix.SYS_PREAD64, "pwrite64": unix.SYS_PWRITE64, "readv": unix.SYS_READV, "writev": unix.SYS_WRITEV,
		"mq_unlink": unix.SYS_MQ_UNLINK, "mq_getsetattr": unix.SYS_MQ_GETSETATTR, "mq_timedsend": unix.SYS_MQ_TIMEDSEND,
		"mq_timedreceive": unix.SYS_MQ_TIMEDRECEIVE, "getdents64": unix.SYS_GETDENTS64, "readlinkat": unix.SYS_READLINKAT,
		"mkdirat": unix.SYS_MKDIRAT, "mknodat": unix.SYS_MKNODAT, "fchmod": unix.SYS_FCHMOD, "fchmodat": unix.SYS_FCHMODAT,
		"fchown": unix.SYS_FCHOWN, "waitid": unix.SYS_WAITID, "wait4": unix.SYS_WAIT4, "kill": unix.SYS_KILL,
		"prctl": unix.SYS_PRCTL, "gettid": unix.SYS_GETTID, "getpid": unix.SYS_GETPID, "lseek": unix.SYS_LSEEK,
		"sched_yield": unix.SYS_SCHED_YIELD, "getrandom": unix.SYS_GETRANDOM, "clock_gettime": unix.SYS_CLOCK_GETTIME,
		"fsync": unix.SYS_FSYNC, "fdatasync": unix.SYS_FDATASYNC, "flock": unix.SYS_FLOCK, "faccessat": unix.SYS_FACCESSAT,
		"fchownat": unix.SYS_FCHOWNAT, "utimensat": unix.SYS_UTIMENSAT, "symlinkat": unix.SYS_SYMLINKAT, "fchdir": unix.SYS_FCHDIR,
		"msync": unix.SYS_MSYNC, "mlock": unix.SYS_MLOCK, "dup": unix.SYS_DUP,
		"timerfd_create": unix.SYS_TIMERFD_CREATE, "timerfd_settime": unix.SYS_TIMERFD_SETTIME, "signalfd4": unix.SYS_SIGNALFD4,
		"inotify_init1": unix.SYS_INOTIFY_INIT1, "inotify_add_watch": unix.SYS_INOTIFY_ADD_WATCH, "copy_file_range": unix.SYS_COPY_FILE_RANGE,
		"statx": unix.SYS_STATX, "fsetxattr": unix.SYS_FSETXATTR, "setns": unix.SYS_SETNS, "fsopen": unix.SYS_FSOPEN, "fsconfig": unix.SYS_FSCONFIG, "fsmount": unix.SYS_FSMOUNT,
	}
	for name, nr := range calls {
		all[name] = nr
	}
	return all
}

// spared are the numbers of the calls that never fail.
func spared(names []string) (nrs []uint32, err error) {
	all := callNames()
	for _, name := range append([]string{"close"}, names...) {
		nr, ok := all[name]
		if !ok {
			return nil, fmt.Errorf("fuzz: FailEach can't spare %q; want some of %s", name, strings.Join(sorted(all), " "))
		}
		if nrs = append(nrs, nr); name == "futex" {
			nrs = append(nrs, futexWakes)
		}
	}
	return nrs, nil
}
