package fuzz

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The environment variable of [Without], and the one that says that the
// filter is in place already.
const (
	withoutEnv = "RAWIPC_WITHOUT"
	withheld   = "RAWIPC_WITHHELD"
)

// calls that can be withheld.
var calls = map[string]uint32{
	"clone3":            unix.SYS_CLONE3,
	"close_range":       unix.SYS_CLOSE_RANGE,
	"fallocate":         unix.SYS_FALLOCATE,
	"flock":             unix.SYS_FLOCK,
	"futex_waitv":       unix.SYS_FUTEX_WAITV,
	"get_robust_list":   unix.SYS_GET_ROBUST_LIST,
	"inotify_init1":     unix.SYS_INOTIFY_INIT1,
	"linkat":            unix.SYS_LINKAT,
	"membarrier":        unix.SYS_MEMBARRIER,
	"memfd_create":      unix.SYS_MEMFD_CREATE,
	"mq_notify":         unix.SYS_MQ_NOTIFY,
	"mq_open":           unix.SYS_MQ_OPEN,
	"pidfd_getfd":       unix.SYS_PIDFD_GETFD,
	"pidfd_open":        unix.SYS_PIDFD_OPEN,
	"pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL,
	"preadv2":           unix.SYS_PREADV2,
	"prlimit64":         unix.SYS_PRLIMIT64,
	"pwritev2":          unix.SYS_PWRITEV2,
	"renameat2":         unix.SYS_RENAMEAT2,
	"sched_getaffinity": unix.SYS_SCHED_GETAFFINITY,
	"sched_setaffinity": unix.SYS_SCHED_SETAFFINITY,
	"set_robust_list":   unix.SYS_SET_ROBUST_LIST,
	"splice":            unix.SYS_SPLICE,
	"tee":               unix.SYS_TEE,
}

// A rule refuses call nr; if arg is not negative only where that argument,
// cut to 32 bits and to mask, equals value.
type rule struct {
	nr          uint32
	arg         int
	mask, value uint32
	errno       syscall.Errno
}

// Without reports whether the tests run without a system call: those that
// RAWIPC_WITHOUT lists, separated by commas, are refused to this process and
// all its children as if the kernel did not have them (ENOSYS), or with the
// error that follows a colon: "futex_waitv,memfd_create:EPERM".
//
// The calls are clone3, close_range, fallocate, flock, futex_waitv,
// get_robust_list, inotify_init1, linkat, membarrier, memfd_create, mq_notify,
// mq_open, pidfd_getfd, pidfd_open, pidfd_send_signal, preadv2, prlimit64,
// pwritev2, renameat2, sched_getaffinity, sched_setaffinity, set_robust_list,
// splice, tee. (Not eventfd2: no Go program starts without it.)
// Beside them "pidfd" means all that makes or takes a pidfd, and "unshare" all that
// makes a namespace. A flag, an option, two commands or calls are "memfd_noexec",
// "ofd_lock", "peer_pidfd", "rwf_nowait", "tmpfile" (O_TMPFILE) and "xattr": these, and
// "unshare", are refused with an errno of their own, and take none. Without panics
// if call is none of all.
//
// A result that go test has cached does not know of the variable: -count=1.
func Without(call string) bool {
	if _, known := calls[call]; !known && features[call].rules == nil {
		panic(fmt.Sprintf("fuzz: Without(%q): want one of %s", call, allWithout()))
	}
	_, without := withoutAs(call)
	return without
}

// allWithout names all that can be withheld.
func allWithout() string { return strings.Join(append(sorted(features), sorted(calls)...), " ") }

// withoutAs tells also the name of the error, "" for ENOSYS.
func withoutAs(call string) (errName string, without bool) {
	for item := range strings.SplitSeq(os.Getenv(withoutEnv), ",") {
		name, errName, _ := strings.Cut(item, ":")
		if name == call || name == "pidfd" && (strings.HasPrefix(call, "pidfd_") || call == "clone3") || name == "unshare" && call == "clone3" {
			return errName, true
		}
	}
	return "", false
}

func parseWithout(list string) (rules []rule, err error) {
	for item := range strings.SplitSeq(list, ",") {
		name, errName, _ := strings.Cut(item, ":")
		errno := unix.ENOSYS
		if errName != "" {
			if errno = errnoOf(errName); errno == 0 {
				return nil, fmt.Errorf("fuzz: %s=%q: no error is called %q; want such as EPERM", withoutEnv, list, errName)
			}
		}
		nr, known := calls[name]
		f := features[name]
		switch {
		case f.own && errName != "":
			return nil, fmt.Errorf("fuzz: %s=%q: %q has an errno of its own, and takes none", withoutEnv, list, name)
		case f.rules != nil:
			rules = append(rules, f.rules(errno)...)
		case known:
			rules = append(rules, rule{nr: nr, arg: -1, errno: errno})
		default:
			return nil, fmt.Errorf("fuzz: %s=%q: %q can't be withheld; want one of %s", withoutEnv, list, name, allWithout())
		}
	}
	return rules, nil
}

func errnoOf(name string) syscall.Errno {
	for e := syscall.Errno(1); e < 134; e++ {
		if unix.ErrnoName(e) == name {
			return e
		}
	}
	return 0
}

// withhold installs the filter that the environment asks for. A filter binds
// the thread that installs it, and what that becomes: so this program starts
// over from that thread, and nothing in it has seen the calls work.
func withhold() error {
	list := os.Getenv(withoutEnv)
	if list == "" || os.Getenv(withheld) == list {
		return nil
	}
	rules, err := parseWithout(list)
	if err != nil {
		return err
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := installFilter(program(rules)); err != nil {
		return fmt.Errorf("fuzz: %s=%q: %w", withoutEnv, list, os.NewSyscallError("seccomp", err))
	}
	os.Setenv(withheld, list)
	return &os.PathError{Op: "exec", Path: exe, Err: syscall.Exec(exe, os.Args, os.Environ())}
}
