package proc

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// kernel says which of the newer calls may be tried. A call that the kernel does
// not have, or that a seccomp filter refuses, is found out by trying it; tests
// clear the flags to run the fallbacks anywhere.
//
//	Linux 5.1  pidfd_send_signal
//	Linux 5.2  clone with CLONE_PIDFD
//	Linux 5.4  waitid with P_PIDFD
var kernel struct {
	clonePidfd, waitPidfd, signalPidfd trial
}

// trial is a flag that starts as true.
type trial struct{ no atomic.Bool }

func (t *trial) Load() bool   { return !t.no.Load() }
func (t *trial) Store(b bool) { t.no.Store(!b) }

// refused reports whether err means that the call as such can't be had here.
func refused(err error) bool {
	return err == unix.ENOSYS || err == unix.EINVAL || err == unix.EPERM
}
