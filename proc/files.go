package proc

import (
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file moves descriptors: out of a parent's objects, and into the child's.

const requestSeals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK

// dupConn duplicates the descriptor of c, above stdio and close-on-exec. It does
// not ask os.File for its Fd: that can switch the file, and every process that
// shares it, to blocking mode.
func dupConn(c syscall.Conn) (int, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var derr error
	if rc.Control(func(raw uintptr) { fd, derr = dup(int(raw)) }) != nil {
		return -1, os.ErrClosed // Control fails for nothing else
	}
	return fd, derr
}

func dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return n, nil
}

// memfd creates an anonymous file that can be sealed and not be executed.
func memfd(name string) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	return fd, nil
}

// sealed creates a memfd that holds b and can't be changed any more.
func sealed(name string, b []byte) (int, error) {
	fd, err := memfd(name)
	if err != nil {
		return -1, err
	}
	for len(b) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, b); err == unix.EINTR {
			err = nil
		}
		b = b[max(n, 0):]
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("write", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, requestSeals|unix.F_SEAL_SEAL); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// preadFull fills b from the start of fd, or as far as the file goes.
func preadFull(fd int, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := unix.Pread(fd, b[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, os.NewSyscallError("pread", err)
		}
		if k == 0 {
			break
		}
		n += k
	}
	return n, nil
}

// closeOnExec marks the n descriptors from first on, so that nothing that the
// child starts can inherit them.
func closeOnExec(first, n int) {
	if unix.CloseRange(uint(first), uint(first+n-1), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	for fd := first; fd < first+n; fd++ { // before Linux 5.11
		unix.CloseOnExec(fd)
	}
}

func fileSize(fd int) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Size, nil
}

// inherited returns the largest descriptor, or 2, that this process got from
// whoever started it: above stdio, what has no close-on-exec flag, as all that Go
// opens has one. A pipe that children held would not end for those who read it.
var inherited = sync.OnceValue(func() int {
	largest := 2
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return largest // no /proc: nothing can be started anyway
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err == nil && fd > largest && inheritable(fd) {
			largest = fd
		}
	}
	return largest
})

func inheritable(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}
