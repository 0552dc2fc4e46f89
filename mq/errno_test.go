package mq_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/mq"
)

// Every system call of every operation fails: the error says which and why,
// nothing is left behind, the queue serves and the next try works.
func TestErrnos(t *testing.T) {
	errnos := []syscall.Errno{unix.EINTR, unix.EXFULL, unix.ENOMEM, unix.EMFILE, unix.EACCES, unix.EPERM}
	if testing.Short() {
		errnos = errnos[:2]
	}
	name := freshName()
	create := func() (*mq.Queue, error) { return mq.Create(name, small(2)) }
	open := func() (*mq.Queue, error) { return mq.Open(name, os.O_RDWR) }
	send := func(q *mq.Queue) error { return q.Send(bg, []byte("it"), 1) }
	take := func(q *mq.Queue) error {
		buf := make([]byte, 64)
		n, _, err := q.Recv(bg, buf)
		if err == nil && string(buf[:n]) != "it" {
			err = fmt.Errorf("received %q", buf[:n])
		}
		return err
	}
	serve := func(q *mq.Queue) error { return errors.Join(send(q), take(q)) }
	full := func() (*mq.Queue, error) {
		q, err := create()
		if err == nil {
			err = send(q)
		}
		return q, err
	}
	unlinked := func(r fuzz.Round) fuzz.Round {
		return func(fail func(func() error) error) error {
			defer mq.Unlink(name)
			return r(fail)
		}
	}
	rows := []struct {
		name string
		fuzz.Round
	}{
		{"Create", unlinked(fuzz.Making(create, serve))},
		{"Open", unlinked(func(fail func(func() error) error) error {
			q, err := create()
			if err != nil {
				return err
			}
			defer q.Close()
			return fuzz.Making(open, serve)(fail)
		})},
		{"TakeFiles", unlinked(func(fail func(func() error) error) error {
			q, err := create()
			if err != nil {
				return err
			}
			defer q.Close() // an error: its file is taken
			files, err := q.PassFiles()
			if err != nil {
				return err
			}
			var taken mq.Queue
			op := func() error { return taken.TakeFiles(files) }
			if fail(op) != nil {
				if err := op(); err != nil {
					return err
				}
			}
			return errors.Join(serve(&taken), taken.Close())
		})},
		{"Send", unlinked(fuzz.Using(create, send, func(q *mq.Queue) error { return errors.Join(take(q), serve(q)) }))},
		{"Recv", unlinked(fuzz.Using(full, take, serve))},
		{"TrySend", unlinked(fuzz.Using(create, func(q *mq.Queue) error {
			ok, err := q.TrySend([]byte("it"), 1)
			if err == nil && !ok {
				err = errors.New("not sent")
			}
			return err
		}, func(q *mq.Queue) error { return errors.Join(take(q), serve(q)) }))},
		{"TryRecv", unlinked(fuzz.Using(full, func(q *mq.Queue) error {
			_, _, ok, err := q.TryRecv(make([]byte, 64))
			if err == nil && !ok {
				err = errors.New("nothing received")
			}
			return err
		}, serve))},
		// A registration whose end the kernel refuses, which it never does, stays
		// until the queue is closed.
		{"Notify", unlinked(fuzz.Using(full, func(q *mq.Queue) error { return q.Notify(bg) },
			func(q *mq.Queue) error { return errors.Join(take(q), serve(q)) }))},
		{"Stat", unlinked(fuzz.Using(create, func(q *mq.Queue) error { _, err := q.Stat(); return err }, serve))},
		{"Unlink", func(fail func(func() error) error) error {
			q, err := create()
			if err != nil {
				return err
			}
			defer q.Close()
			if fail(func() error { return mq.Unlink(name) }) != nil {
				return mq.Unlink(name)
			}
			return nil
		}},
		{"List", func(fail func(func() error) error) error {
			list := func() error { _, err := mq.List(); return err }
			if fail(list) != nil {
				return list()
			}
			return nil
		}},
	}
	sites, rounds := 0, 0
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			// What the poller did not take: package os keeps the errno to itself.
			also := []error{os.ErrNoDeadline}
			switch r.name {
			case "Unlink":
				also = append(also, unix.EACCES) // as mq_unlink(3) has it for EPERM
			case "List":
				if _, err := mq.List(); errors.Is(err, fs.ErrNotExist) {
					t.Skip("needs /dev/mqueue: ", err)
				}
			}
			rep := fuzz.FailEach(t, &fuzz.Faults{Errnos: errnos, Also: also}, r.Round)
			t.Logf("%d system calls, %d rounds, %d without an error", rep.Sites, rep.Rounds, rep.Tolerated)
			sites += rep.Sites
			rounds += rep.Rounds
		})
	}
	t.Logf("%d sites, %d calls refused", sites, rounds)
}
