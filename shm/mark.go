package shm

import (
	"os"

	"golang.org/x/sys/unix"
)

// Sweep must know our objects from those of C and Python, who take no lock. Not
// a byte of the content may say so, so an attribute of the file does; where
// tmpfs has none for users (Linux before 6.6), the sticky bit, which means
// nothing on a file and which shm_open's callers never give.
const markName = "user.rawipc"

func mark(fd int) error {
	if unix.Fsetxattr(fd, markName, []byte{1}, 0) == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	return os.NewSyscallError("fchmod", unix.Fchmod(fd, st.Mode&0o777|unix.S_ISVTX))
}

func marked(fd int, st *unix.Stat_t) bool {
	if st.Mode&unix.S_ISVTX != 0 {
		return true
	}
	var value [1]byte
	n, err := unix.Fgetxattr(fd, markName, value[:])
	return err == nil && n == 1
}
