package mq_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/mq"
	"golang.org/x/sys/unix"
)

// helpers are what this binary does as a child of one of its tests.
var helpers = map[string]func() error{
	"send":        send,
	"bytes-limit": bytesLimit,
	"queue-limit": queueLimit,
	"absent":      absent,
	"closed":      closed,
	"inherit":     inherit,
}

const nameEnv = "RAWIPC_MQ_TEST_NAME"

// send sends its own messages of mixed priorities by name.
func send() error {
	q, err := mq.Open(os.Getenv(nameEnv), os.O_WRONLY)
	if err != nil {
		return err
	}
	for i, prio := range []uint{1, 5, 3, 5, 1} {
		if err := q.Send(bg, []byte{byte('a' + i)}, prio); err != nil {
			return err
		}
	}
	return nil
}

// bytesLimit makes queues until RLIMIT_MSGQUEUE is spent.
func bytesLimit() error {
	if err := unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &unix.Rlimit{Cur: 50_000, Max: 50_000}); err != nil {
		return err
	}
	for i := range 20 {
		name := fmt.Sprintf("/rawipc-limit-%d-%d", os.Getpid(), i)
		q, err := mq.Create(name, &mq.Attr{MaxMessages: 10, MessageSize: 1000})
		if err == nil {
			defer mq.Unlink(name)
			defer q.Close()
			continue
		}
		if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "RLIMIT_MSGQUEUE") {
			return fmt.Errorf("queue %d: %v", i, err)
		}
		// With no descriptors left either, that is the first thing to say.
		lim := unix.Rlimit{Cur: 3, Max: 3}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			return err
		}
		if _, err := mq.Create(name, nil); !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
			return fmt.Errorf("no descriptors: %v", err)
		}
		return nil
	}
	return errors.New("20 queues of 10,000 bytes and no error at 50,000")
}

// queueLimit runs in an IPC namespace of its own.
func queueLimit() error {
	for i := range 2000 {
		name := fmt.Sprintf("/q%d", i)
		q, err := mq.Create(name, &mq.Attr{MaxMessages: 1, MessageSize: 1})
		if err == nil {
			q.Close()
			continue
		}
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "fs.mqueue.queues_max") {
			return fmt.Errorf("queue %d: %v", i, err)
		}
		fmt.Printf("%d", i)
		return nil
	}
	return errors.New("2000 queues and no error")
}

// absent expects its namespace not to have the queue.
func absent() error {
	if _, err := mq.Open(os.Getenv(nameEnv), os.O_RDONLY); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("in another namespace: %v", err)
	}
	return nil
}

// closed expects no queue among its descriptors.
func closed() error {
	for fd := range 100 {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err == nil && strings.Contains(link, "rawipc-mq-test") {
			return fmt.Errorf("descriptor %d is %s", fd, link)
		}
	}
	return nil
}

// inherit echoes one message in capitals over the queue it was lent.
func inherit() error {
	q := new(mq.Queue)
	if err := q.TakeFiles([]*os.File{os.NewFile(3, "")}); err != nil {
		return err
	}
	st, err := q.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, st.MessageSize)
	n, prio, err := q.Recv(bg, buf)
	if err != nil {
		return err
	}
	return q.Send(bg, []byte(strings.ToUpper(string(buf[:n]))), prio+1)
}

func TestCase187_PrioritiesAcrossProcesses(t *testing.T) {
	q, name := fresh(t, small(5))
	cmd := helper(t, "send")
	cmd.Env = append(cmd.Env, nameEnv+"="+name)
	must(t, cmd.Run())
	var got string
	buf := make([]byte, 64)
	for range 5 {
		n, _, err := q.Recv(bg, buf)
		must(t, err)
		got += string(buf[:n])
	}
	if got != "bdcae" {
		t.Errorf("order %s, want bdcae", got)
	}
}

func TestCase196_BytesOfAUser(t *testing.T) {
	cmd := helper(t, "bytes-limit")
	must(t, cmd.Run())
}

func TestCase196_QueuesOfANamespace(t *testing.T) {
	cmd := helper(t, "queue-limit")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWIPC}
	out, err := cmd.Output()
	if errors.Is(err, unix.EPERM) {
		t.Skip("no right to an IPC namespace")
	}
	must(t, err)
	t.Logf("%s queues", out)
}

func TestCase202_Namespace(t *testing.T) {
	_, name := fresh(t, small(1))
	cmd := helper(t, "absent")
	cmd.Env = append(cmd.Env, nameEnv+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWIPC}
	if err := cmd.Run(); errors.Is(err, unix.EPERM) {
		t.Skip("no right to an IPC namespace")
	} else if err != nil {
		t.Error(err)
	}
}

func TestCase203_CloseOnExec(t *testing.T) {
	q, _ := fresh(t, small(1))
	if fl, err := unix.FcntlInt(uintptr(rawFD(t, q)), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", fl, err)
	}
	must(t, helper(t, "closed").Run())
}

func TestHandle(t *testing.T) {
	q, _ := fresh(t, small(2))
	files, err := q.PassFiles()
	must(t, err)
	must(t, q.Send(bg, []byte("lent"), 7))
	cmd := helper(t, "inherit", files...)
	must(t, cmd.Run())
	buf := make([]byte, 64)
	must(t, q.SetReadDeadline(time.Now().Add(hang)))
	n, prio, err := q.Recv(bg, buf)
	if err != nil || string(buf[:n]) != "LENT" || prio != 8 {
		t.Errorf("%q, %d, %v", buf[:n], prio, err)
	}
}
