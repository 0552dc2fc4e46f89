package mq_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/rawipc/rawipc/mq"
	"golang.org/x/sys/unix"
)

// What a C program would do, to a descriptor.

type rawAttr struct {
	flags, max, size, now int
	_                     [4]int
}

// rawSetAttr is mq_setattr(3).
func rawSetAttr(fd int, a *rawAttr) error { return rawSwapAttr(fd, a, nil) }

// rawSwapAttr is mq_setattr(3) that tells what was before: with a nil, mq_getattr(3).
func rawSwapAttr(fd int, a, old *rawAttr) error {
	return errnoOf(unix.Syscall(unix.SYS_MQ_GETSETATTR, uintptr(fd), uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(old))))
}

// rawReceive is mq_receive(3): it blocks if the descriptor does.
func rawReceive(fd int, buf []byte) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

type rawSigevent struct {
	value         uintptr
	signo, notify int32
	_             [64]byte
}

// rawNotify is mq_notify(3).
func rawNotify(fd int, e *rawSigevent) error {
	return errnoOf(unix.Syscall(unix.SYS_MQ_NOTIFY, uintptr(fd), uintptr(unsafe.Pointer(e)), 0))
}

func errnoOf(_, _ uintptr, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// registered returns the process that is registered for the queue, or 0: the
// kernel writes it into what read(2) gives.
func registered(t testing.TB, q *mq.Queue) (pid int) {
	t.Helper()
	buf := make([]byte, 256)
	n, err := unix.Pread(rawFD(t, q), buf, 0)
	must(t, err)
	_, last, _ := strings.Cut(string(buf[:n]), "NOTIFY_PID:")
	if _, err := fmt.Sscan(last, &pid); err != nil {
		t.Fatalf("%q: %v", buf[:n], err)
	}
	return pid
}

// until waits for something that comes by itself.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !f(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// asleep waits until the thread is in the system call.
func asleep(t testing.TB, pid, tid int, call uintptr) {
	t.Helper()
	prefix := fmt.Sprint(call, " ")
	until(t, "sleep in a system call", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
		must(t, err)
		return strings.HasPrefix(string(text), prefix)
	})
}
