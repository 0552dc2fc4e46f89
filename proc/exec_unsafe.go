package proc

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// image is a program that needs no more memory to be executed: under a limit
// that was made for it, this runtime may be dead at its next allocation.
type image struct {
	path      *byte
	argv, env []*byte
}

func newImage(p *program) (*image, error) {
	path, err := syscall.BytePtrFromString(p.path)
	if err != nil {
		return nil, err
	}
	argv, err := syscall.SlicePtrFromStrings(p.argv)
	if err != nil {
		return nil, err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	return &image{path, argv, env}, err
}

// exec returns only if it fails. It does not let go of the processor.
func (i *image) exec() error {
	_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(i.path)),
		uintptr(unsafe.Pointer(&i.argv[0])), uintptr(unsafe.Pointer(&i.env[0])))
	return errno
}
