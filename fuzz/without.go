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
	"set_robust_list":   unix.SYS_SET_ROBUST_LIST,
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
	"process_vm_readv":  unix.SYS_PROCESS_VM_READV,
	"pwritev2":          unix.SYS_PWRITEV2,
	"renameat2":         unix.SYS_RENAMEAT2,
	"sched_getaffinity": unix.SYS_SCHED_GETAFFINITY,
	"sched_setaffinity": unix.SYS_SCHED_SETAFFINITY,
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

// noPidfd is a kernel that has never heard of pidfds, as far as a filter can
// play one. A kernel before 5.2 ignores CLONE_PIDFD without a word, which no
// filter can do, so clone(2) refuses it; clone3(2) takes its flags in memory,
// where no filter sees them, and goes altogether, as that older kernel has
// none. So a pidfd comes from nowhere: that of SCM_PIDFD and
// SO_PEERPIDFD (6.5) excepted.
func noPidfd(errno syscall.Errno) []rule {
	rules := []rule{
		{nr: unix.SYS_WAITID, arg: 0, mask: ^uint32(0), value: unix.P_PIDFD, errno: unix.EINVAL},
		{nr: unix.SYS_CLONE, arg: 0, mask: unix.CLONE_PIDFD, value: unix.CLONE_PIDFD, errno: unix.EINVAL},
	}
	if runtime.GOARCH == "s390x" { // its clone takes the stack first
		rules[1].arg = 1
	}
	for _, name := range []string{"pidfd_open", "pidfd_send_signal", "pidfd_getfd", "clone3"} {
		rules = append(rules, rule{nr: calls[name], arg: -1, errno: errno})
	}
	return rules
}

// features are more or less than a call; each is refused as a kernel that lacks
// it does.
var features = map[string]func(errno syscall.Errno) []rule{
	"pidfd": noPidfd,
	"memfd_noexec": func(syscall.Errno) []rule { // Linux 6.3
		return []rule{{nr: unix.SYS_MEMFD_CREATE, arg: 1, mask: unix.MFD_NOEXEC_SEAL, value: unix.MFD_NOEXEC_SEAL, errno: unix.EINVAL}}
	},
	"ofd_lock": func(syscall.Errno) []rule { // no Linux lacks them, but some stand-ins do
		return []rule{
			{nr: unix.SYS_FCNTL, arg: 1, mask: ^uint32(0), value: unix.F_OFD_SETLK, errno: unix.EINVAL},
			{nr: unix.SYS_FCNTL, arg: 1, mask: ^uint32(0), value: unix.F_OFD_GETLK, errno: unix.EINVAL},
		}
	},
	"peer_pidfd": func(syscall.Errno) []rule { // Linux 6.5
		return []rule{{nr: unix.SYS_GETSOCKOPT, arg: 2, mask: ^uint32(0), value: unix.SO_PEERPIDFD, errno: unix.ENOPROTOOPT}}
	},
	"rwf_nowait": func(syscall.Errno) []rule { // of pipes: Linux 6.4
		return []rule{
			{nr: unix.SYS_PREADV2, arg: 5, mask: unix.RWF_NOWAIT, value: unix.RWF_NOWAIT, errno: unix.EOPNOTSUPP},
			{nr: unix.SYS_PWRITEV2, arg: 5, mask: unix.RWF_NOWAIT, value: unix.RWF_NOWAIT, errno: unix.EOPNOTSUPP},
		}
	},
}

// Without reports whether the tests run without a system call: those that
// RAWIPC_WITHOUT lists, separated by commas, are refused to this process and
// all its children as if the kernel did not have them (ENOSYS), or with the
// error that follows a colon: "futex_waitv,memfd_create:EPERM".
//
// The calls are clone3, close_range, fallocate, flock, futex_waitv,
// get_robust_list, linkat, membarrier, memfd_create, mq_notify, mq_open,
// pidfd_getfd, pidfd_open, pidfd_send_signal, preadv2, prlimit64,
// process_vm_readv, pwritev2, renameat2, sched_getaffinity, sched_setaffinity,
// set_robust_list, splice, tee. Beside them "pidfd" means all that makes or takes a
// pidfd; "memfd_noexec", "ofd_lock", "peer_pidfd" and "rwf_nowait" mean a flag, an
// option or two commands. Without panics if call is none of these.
//
// A result that go test has cached does not know of the variable: -count=1.
func Without(call string) bool {
	if _, known := calls[call]; !known && features[call] == nil {
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
		if name == call || name == "pidfd" && (strings.HasPrefix(call, "pidfd_") || call == "clone3") {
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
		feature := features[name]
		switch {
		case feature != nil:
			rules = append(rules, feature(errno)...)
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
