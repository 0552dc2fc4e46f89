package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// CreateAnon makes an object of size bytes (at least 1), all zero, that has no
// name: it lives as long as some process has it open or mapped, so nothing is
// left behind when all are killed. Its size is sealed, unless attr makes it
// Growable: then it can only grow. label (at most 249 bytes) is shown in
// /proc/PID/maps, nothing else.
//
// Another process gets it as a descriptor: pass [Object.File] to a child, or
// send it through a socket, and call [FromFile] there.
//
// The memory is allocated at once; where there is not enough the error is
// ENOMEM (or ENOSPC) and names how much was wanted and how much there is. attr
// may be nil.
func CreateAnon(label string, size int64, attr *Attr) (*Object, error) {
	a := attr.orDefault()
	o, err := createAnon(label, size, &a)
	if err != nil {
		return nil, &fs.PathError{Op: "memfd_create", Path: label, Err: err}
	}
	return o, nil
}

func createAnon(label string, size int64, a *Attr) (*Object, error) {
	if err := a.check(false); err != nil {
		return nil, err
	}
	if err := checkSize(size); err != nil {
		return nil, err
	}
	if err := checkRoom(size); err != nil {
		return nil, err
	}
	fd, err := memfd(label)
	if err != nil {
		return nil, err
	}
	o := &Object{file: os.NewFile(uintptr(fd), "memfd:"+label), size: size, fixed: !a.Growable}
	if err = allocate(fd, 0, size); err == nil && a.Mode != 0 {
		err = unix.Fchmod(fd, uint32(a.Mode))
	}
	if err == nil && a.ReadOnlyPeers {
		o.writable, err = mmap(fd, 0, int(size), int(ReadWrite))
	}
	if err == nil {
		err = seal(fd, a)
	}
	if err != nil {
		o.release()
		return nil, err
	}
	return o, nil
}

func seal(fd int, a *Attr) error {
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL // nothing can follow the last
	if !a.Growable {
		seals |= unix.F_SEAL_GROW
	}
	if a.ReadOnlyPeers {
		seals |= unix.F_SEAL_FUTURE_WRITE
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seals %#x: %w", seals, err)
	}
	return nil
}

// memfd prefers a memory file that can never be executed; kernels before 6.3
// don't know that flag and say EINVAL, as they do for a label that is too long.
func memfd(label string) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(label, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(label, flags)
	}
	return fd, err
}
