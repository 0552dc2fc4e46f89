package mq_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/rawipc/rawipc/mq"
	"golang.org/x/sys/unix"
)

func TestCase193_ExclusiveCreate(t *testing.T) {
	_, name := fresh(t, small(1))
	_, err := mq.Create(name, nil)
	wantErr(t, "Create again", err, fs.ErrExist)
	absent := freshName()
	_, err = mq.Open(absent, os.O_RDWR)
	wantErr(t, "Open", err, fs.ErrNotExist)
	var pe *fs.PathError
	if !errors.As(err, &pe) || pe.Path != absent {
		t.Errorf("%#v", err)
	}
	_, err = mq.Open(name, os.O_RDWR|os.O_CREATE)
	wantErr(t, "mode", err, unix.EINVAL)
	for range 50 {
		name := freshName()
		var wg sync.WaitGroup
		won := make(chan *mq.Queue, 4)
		for range 4 {
			wg.Go(func() {
				q, err := mq.Create(name, small(1))
				if err == nil {
					won <- q
				} else if !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d winners", len(won))
		}
		(<-won).Close()
		must(t, mq.Unlink(name))
	}
}

func TestCase194_Names(t *testing.T) {
	long := strings.Repeat("n", 256)
	for _, c := range []struct {
		name string
		want error
	}{
		{"", unix.EINVAL}, {"abc", unix.EINVAL}, {"/", unix.EINVAL}, {"/a/b", unix.EINVAL}, {"//a", unix.EINVAL},
		{"/.", unix.EINVAL}, {"/..", unix.EINVAL}, {"/a\x00b", unix.EINVAL}, {"/" + long, unix.ENAMETOOLONG},
	} {
		_, cerr := mq.Create(c.name, nil)
		_, oerr := mq.Open(c.name, os.O_RDWR)
		for what, err := range map[string]error{"Create": cerr, "Open": oerr, "Unlink": mq.Unlink(c.name)} {
			wantErr(t, what+" "+c.name, err, c.want)
			var pe *fs.PathError
			if !errors.As(err, &pe) || pe.Path != c.name {
				t.Errorf("%s %q: %#v", what, c.name, err)
			}
		}
	}
	for _, name := range []string{freshName(), (freshName() + long)[:256]} {
		q, err := mq.Create(name, small(1))
		must(t, err)
		q.Close()
		must(t, mq.Unlink(name))
	}
}

func TestCase195_Limits(t *testing.T) {
	name := freshName()
	for _, c := range []struct {
		attr mq.Attr
		say  string
	}{
		{mq.Attr{MaxMessages: 0, MessageSize: 64}, "fs.mqueue.msg_max"},
		{mq.Attr{MaxMessages: 10, MessageSize: 0}, "fs.mqueue.msgsize_max"},
		{mq.Attr{MaxMessages: -1, MessageSize: -1}, "fs.mqueue.msg_max"},
		{mq.Attr{MaxMessages: 1 << 17, MessageSize: 64}, "fs.mqueue.msg_max"},    // above any msg_max
		{mq.Attr{MaxMessages: 1, MessageSize: 1 << 25}, "fs.mqueue.msgsize_max"}, // above any msgsize_max
		{mq.Attr{Mode: os.ModeDir}, "mode 020000000000, want permission bits only"},
		{mq.Attr{Mode: 0o7777}, "mode 07777, want permission bits only"},
	} {
		_, err := mq.Create(name, &c.attr)
		wantErr(t, "Create", err, unix.EINVAL)
		if !strings.Contains(err.Error(), c.say) {
			t.Errorf("%+v: %q doesn't say %s", c.attr, err, c.say)
		}
	}
	for _, attr := range []*mq.Attr{{MaxMessages: 11, MessageSize: 64}, {MaxMessages: 1, MessageSize: 8193}} {
		q, err := mq.Create(name, attr)
		if err == nil {
			t.Logf("%+v is allowed here", *attr)
			q.Close()
			must(t, mq.Unlink(name))
			continue
		}
		wantErr(t, "Create", err, unix.EINVAL)
	}
	q, err := mq.Create(name, &mq.Attr{Mode: 0o400})
	must(t, err)
	st, err := q.Stat()
	if err != nil || st.MaxMessages > 10 || st.MessageSize > 8192 || st.MaxMessages < 1 || st.MessageSize < 1 {
		t.Errorf("defaults: %+v, %v", st, err)
	}
	q.Close()
	must(t, mq.Unlink(name))
}

func TestCase197_Unlink(t *testing.T) {
	q, name := fresh(t, small(2))
	must(t, q.Send(bg, []byte("stays"), 0))
	must(t, mq.Unlink(name))
	_, err := mq.Open(name, os.O_RDWR)
	wantErr(t, "Open", err, fs.ErrNotExist)
	wantErr(t, "Unlink again", mq.Unlink(name), fs.ErrNotExist)
	n, err := mq.Create(name, small(1)) // another queue of that name
	must(t, err)
	defer n.Close()
	buf := make([]byte, 64)
	if k, _, err := q.Recv(bg, buf); err != nil || string(buf[:k]) != "stays" {
		t.Errorf("%q, %v", buf[:k], err)
	}
}

func TestHandleInProcess(t *testing.T) {
	before := fdCount(t)
	q, name := fresh(t, small(2))
	fd, err := unix.Dup(rawFD(t, q))
	must(t, err)
	var p mq.Queue
	must(t, p.TakeFiles([]*os.File{os.NewFile(uintptr(fd), "")}))
	must(t, q.Send(bg, []byte("x"), 2))
	if n, prio, err := p.Recv(bg, make([]byte, 64)); n != 1 || prio != 2 || err != nil {
		t.Error(n, prio, err)
	}
	wantErr(t, "used Queue", p.TakeFiles([]*os.File{os.Stdin}), os.ErrInvalid)
	wantErr(t, "no file", new(mq.Queue).TakeFiles(nil), os.ErrInvalid)
	wantErr(t, "nil file", new(mq.Queue).TakeFiles([]*os.File{nil}), os.ErrInvalid)
	f, err := os.Open("/dev/null")
	must(t, err)
	wantErr(t, "no queue", new(mq.Queue).TakeFiles([]*os.File{f}), unix.EBADF)
	must(t, f.Close()) // still ours
	b, err := q.GobEncode()
	if len(b) != 1 || err != nil {
		t.Error(b, err)
	}
	must(t, new(mq.Queue).GobDecode(b))
	wantErr(t, "GobDecode", new(mq.Queue).GobDecode(nil), os.ErrInvalid)
	must(t, p.Close())
	must(t, q.Close())
	must(t, mq.Unlink(name))
	if n := fdCount(t); n > before {
		t.Errorf("%d descriptors, before %d", n, before)
	}
}
