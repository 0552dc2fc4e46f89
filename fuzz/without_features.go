package fuzz

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A feature is more or less than a call. It is refused as a kernel that lacks it
// does, with an errno of its own, or else with the errno that is asked for.
type feature struct {
	own   bool
	rules func(errno syscall.Errno) []rule
}

// features that can be withheld, beside calls.
var features = map[string]feature{
	"pidfd":        {rules: noPidfd},
	"unshare":      {own: true, rules: noNamespaces},
	"memfd_noexec": flag(unix.SYS_MEMFD_CREATE, 1, unix.MFD_NOEXEC_SEAL, unix.EINVAL), // Linux 6.3
	"tmpfile":      flag(unix.SYS_OPENAT, 2, unix.O_TMPFILE, unix.EOPNOTSUPP),         // of file systems
	"ofd_lock": { // no Linux lacks them, but some stand-ins do
		own: true,
		rules: func(syscall.Errno) []rule {
			return []rule{
				{nr: unix.SYS_FCNTL, arg: 1, mask: ^uint32(0), value: unix.F_OFD_SETLK, errno: unix.EINVAL},
				{nr: unix.SYS_FCNTL, arg: 1, mask: ^uint32(0), value: unix.F_OFD_GETLK, errno: unix.EINVAL},
			}
		},
	},
	"peer_pidfd": { // Linux 6.5
		own: true,
		rules: func(syscall.Errno) []rule {
			return []rule{{nr: unix.SYS_GETSOCKOPT, arg: 2, mask: ^uint32(0), value: unix.SO_PEERPIDFD, errno: unix.ENOPROTOOPT}}
		},
	},
	"rwf_nowait": { // of pipes: Linux 6.4
		own: true,
		rules: func(syscall.Errno) []rule {
			return []rule{
				{nr: unix.SYS_PREADV2, arg: 5, mask: unix.RWF_NOWAIT, value: unix.RWF_NOWAIT, errno: unix.EOPNOTSUPP},
				{nr: unix.SYS_PWRITEV2, arg: 5, mask: unix.RWF_NOWAIT, value: unix.RWF_NOWAIT, errno: unix.EOPNOTSUPP},
			}
		},
	},
	"xattr": { // of users, on tmpfs: Linux 6.6
		own: true,
		rules: func(syscall.Errno) []rule {
			return []rule{
				{nr: unix.SYS_SETXATTR, arg: -1, errno: unix.EOPNOTSUPP},
				{nr: unix.SYS_FSETXATTR, arg: -1, errno: unix.EOPNOTSUPP},
				{nr: unix.SYS_FGETXATTR, arg: -1, errno: unix.EOPNOTSUPP},
			}
		},
	},
}

// flag is a feature that is a flag in one argument of a call.
func flag(nr uint32, arg int, flag uint32, errno syscall.Errno) feature {
	return feature{own: true, rules: func(syscall.Errno) []rule {
		return []rule{{nr: nr, arg: arg, mask: flag, value: flag, errno: errno}}
	}}
}

// cloneFlags is where clone(2) has its flags.
func cloneFlags() int {
	if runtime.GOARCH == "s390x" { // it takes the stack first
		return 1
	}
	return 0
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
		{nr: unix.SYS_CLONE, arg: cloneFlags(), mask: unix.CLONE_PIDFD, value: unix.CLONE_PIDFD, errno: unix.EINVAL},
	}
	for _, name := range []string{"pidfd_open", "pidfd_send_signal", "pidfd_getfd", "clone3"} {
		rules = append(rules, rule{nr: calls[name], arg: -1, errno: errno})
	}
	return rules
}

// noNamespaces is a container's filter: whoever would make a process in another
// namespace, or go there himself, may not. It can't see the flags of clone3(2),
// which goes altogether, so that C's library takes clone(2).
func noNamespaces(syscall.Errno) []rule {
	rules := []rule{{nr: calls["clone3"], arg: -1, errno: unix.ENOSYS}}
	for _, space := range []uint32{unix.CLONE_NEWCGROUP, unix.CLONE_NEWIPC, unix.CLONE_NEWNET, unix.CLONE_NEWNS,
		unix.CLONE_NEWPID, unix.CLONE_NEWUSER, unix.CLONE_NEWUTS} {
		rules = append(rules,
			rule{nr: unix.SYS_CLONE, arg: cloneFlags(), mask: space, value: space, errno: unix.EPERM},
			rule{nr: unix.SYS_UNSHARE, arg: 0, mask: space, value: space, errno: unix.EPERM})
	}
	return rules
}
