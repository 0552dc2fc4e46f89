package pipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Mkfifo creates a FIFO, a pipe with a name in the file system. The mode is
// subject to the umask. Errors are of type [*os.PathError], such as
// [os.ErrExist].
func Mkfifo(name string, perm fs.FileMode) error {
	if err := unix.Mkfifo(name, uint32(perm.Perm())); err != nil {
		return &os.PathError{Op: "mkfifo", Path: name, Err: err}
	}
	return nil
}

// OpenFIFO opens a FIFO; flag is os.O_RDONLY, os.O_WRONLY or os.O_RDWR.
//
// Opening to receive returns at once; the first Recv waits for a sender. Opening
// to send blocks until somebody has opened the FIFO to receive: without a
// reader there is nobody to send to. The wait ends with ctx.Err() when ctx
// does; no thread is held. A FIFO outlives its users: a receiver that got
// io.EOF may call Recv again and meets the next sender.
//
// Errors: [*os.PathError]; it wraps [os.ErrInvalid] if name is no FIFO.
func OpenFIFO(ctx context.Context, name string, flag int) (*Conn, error) {
	mustHave(ctx)
	if flag != os.O_RDONLY && flag != os.O_WRONLY && flag != os.O_RDWR {
		return nil, fifoError(name, fmt.Errorf("flag %#x is none of O_RDONLY, O_WRONLY, O_RDWR: %w", flag, os.ErrInvalid))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd, err := openFIFO(name, flag)
	if err == unix.ENXIO {
		fd, err = awaitReader(ctx, name, flag)
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil, ctx.Err()
		}
		return nil, fifoError(name, err)
	}
	c := new(Conn)
	if err := c.init(fd); err != nil {
		return nil, fifoError(name, err)
	}
	return c, nil
}

func fifoError(name string, err error) error {
	return &os.PathError{Op: "open", Path: name, Err: err}
}

// openFIFO opens without waiting: ENXIO says that there is no reader.
func openFIFO(name string, flag int) (int, error) {
	for {
		fd, err := unix.Open(name, flag|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// awaitReader opens for sending once there is a reader. The kernel has no event
// for that on any descriptor of the sender's, but inotify reports each opening
// of the file. The watch stands before the first try, so none is missed.
func awaitReader(ctx context.Context, name string, flag int) (int, error) {
	// A device or a socket gives ENXIO too, and for ever.
	if st, err := os.Stat(name); err != nil {
		return -1, err
	} else if st.Mode()&fs.ModeNamedPipe == 0 {
		return -1, fmt.Errorf("not a FIFO: %w", os.ErrInvalid)
	}
	ifd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("no inotify to wait for a reader with (fs.inotify.max_user_instances): %w", os.NewSyscallError("inotify_init1", err))
	}
	watch := os.NewFile(uintptr(ifd), "inotify")
	defer watch.Close()
	if err := watch.SetReadDeadline(time.Time{}); err != nil {
		return -1, fmt.Errorf("the poller refuses inotify (fs.epoll.max_user_watches?): %w", err)
	}
	if _, err := unix.InotifyAddWatch(ifd, name, unix.IN_OPEN|unix.IN_DELETE_SELF); err != nil {
		return -1, os.NewSyscallError("inotify_add_watch", err)
	}
	stop := context.AfterFunc(ctx, func() { watch.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var events [4096]byte
	for {
		fd, err := openFIFO(name, flag)
		if err != unix.ENXIO {
			return fd, err
		}
		if _, err := watch.Read(events[:]); err != nil {
			if ctx.Err() != nil {
				return -1, ctx.Err()
			}
			return -1, err
		}
	}
}
