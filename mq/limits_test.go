package mq_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// says is wants, and the text must have all these words.
func says(got, want error, words ...string) error {
	err := wants(got, want)
	for _, w := range words {
		if err == nil && !strings.Contains(got.Error(), w) {
			err = fmt.Errorf("error %q, want %q in it", got, w)
		}
	}
	return err
}

// setLimit sets a limit of this process's IPC namespace, where it has its own.
func setLimit(name, value string) error {
	return os.WriteFile("/proc/sys/fs/mqueue/"+name, []byte(value), 0)
}

// ownAccount makes this process one of a user who has no other: the bytes of
// queues are counted by real user, beyond namespaces.
func ownAccount() error { return syscall.Setresuid(1_000_000+os.Getpid(), 0, 0) }

// create creates and closes a queue, which keeps its name.
func create(name string, max, size int) error {
	q, err := mq.Create(name, &mq.Attr{MaxMessages: max, MessageSize: size})
	if err != nil {
		return err
	}
	return q.Close()
}

// Each limit, raised and lowered: the error has its value and its name, and what
// it allows works.
var limits = proc.Register("mq-limits", func(context.Context, string) error {
	errs := []error{
		ownAccount(), setLimit("msg_max", "3"), setLimit("msgsize_max", "200"), setLimit("queues_max", "2"),
		create("/a", 3, 200), create("/b", 1, 1),
	}
	if errors.Join(errs...) != nil {
		return errors.Join(errs...)
	}
	if unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &unix.Rlimit{Cur: 100_000, Max: 100_000}) != nil {
		return errors.New("no limit of bytes")
	}
	privileged := create("/c", 1, 1) == nil // CAP_SYS_RESOURCE: the limits are not for it
	if privileged {
		errs = append(errs, mq.Unlink("/c"))
	} else {
		errs = append(errs,
			says(create("/c", 1, 1), unix.ENOSPC, "2 queues already", "fs.mqueue.queues_max", "/c"),
			setLimit("queues_max", "100"),
			create("/c", 1, 1),
			says(create("/d", 4, 1), unix.EINVAL, "4 messages of 1 bytes", "1 to 3 messages", "fs.mqueue.msg_max"),
			says(create("/d", 1, 201), unix.EINVAL, "1 messages of 201 bytes", "1 to 200 bytes", "fs.mqueue.msgsize_max"),
			setLimit("msg_max", "20"), setLimit("msgsize_max", "10000"),
			create("/d", 4, 201),
			create("/e", 20, 1000),
			says(create("/f", 20, 10000), unix.EMFILE, "201920 bytes", "may have 100000", "RLIMIT_MSGQUEUE", "not descriptors"),
			mq.Unlink("/c"), mq.Unlink("/d"), mq.Unlink("/e"))
	}
	// Nil means what is allowed, even if that is less than the defaults.
	errs = append(errs, setLimit("msg_max", "2"), setLimit("msgsize_max", "150"))
	q, err := mq.Create("/g", nil)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if st, err := q.Stat(); err != nil || st != (mq.Stat{MaxMessages: 2, MessageSize: 150}) {
		errs = append(errs, fmt.Errorf("defaults: %+v, %v", st, err))
	}
	// A larger one that is there works on, and with its own sizes.
	a, err := mq.Open("/a", os.O_RDWR)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, a.Send(bg, make([]byte, 200), 0), says(a.Send(bg, make([]byte, 201), 0), unix.EMSGSIZE, "takes 200"))
	return errors.Join(append(errs, a.Close(), q.Close(), mq.Unlink("/a"), mq.Unlink("/b"), mq.Unlink("/g"))...)
})

func TestCase195_LimitsOfANamespace(t *testing.T) { inChild(t, limits, "", ownQueues(t)) }

// An attacker of the same user takes every byte and every queue: whoever comes
// next gets an error that says so, those who have queues work on, and when the
// attacker is gone all is as before.
var full = proc.Register("mq-full", func(context.Context, string) error {
	mine, err := mq.Create("/mine", small(2))
	if err == nil {
		err = ownAccount()
	}
	if err != nil {
		return err
	}
	defer mine.Close()
	if err := unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &unix.Rlimit{Cur: 50_000, Max: 50_000}); err != nil {
		return err
	}
	taken := 0
	var refused error
	for ; refused == nil; taken++ {
		if taken > 1000 {
			return errors.New("no end of queues")
		}
		refused = create(fmt.Sprint("/a", taken), 10, 100)
	}
	taken--
	errs := []error{says(refused, unix.EMFILE, "RLIMIT_MSGQUEUE", fmt.Sprint("/a", taken))}
	if taken < 5 {
		errs = append(errs, fmt.Errorf("only %d queues", taken))
	}
	buf := make([]byte, 64)
	for i := range byte(50) {
		if err := mine.Send(bg, []byte{i}, 0); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if _, _, err := mine.Recv(bg, buf); err != nil || buf[0] != i {
			return errors.Join(append(errs, fmt.Errorf("message %d: %d, %v", i, buf[0], err))...)
		}
	}
	for i := range taken {
		errs = append(errs, mq.Unlink(fmt.Sprint("/a", i)))
	}
	errs = append(errs, create("/again", 10, 100), mq.Unlink("/again"), mq.Unlink("/mine"))
	// A queue without a name goes with the last who has it open, and its bytes are
	// free: of those that come and go there may be many more.
	for range 10 * taken {
		q, err := mq.Create("/brief", &mq.Attr{MaxMessages: 10, MessageSize: 100})
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("those before are closed: %w", err))...)
		}
		errs = append(errs, mq.Unlink("/brief"), q.Send(bg, nil, 0), q.Close())
	}
	return errors.Join(errs...)
})

func TestCase268_AllTaken(t *testing.T) { inChild(t, full, "", ownQueues(t)) }
