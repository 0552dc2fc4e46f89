package mq_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/mq"
	"golang.org/x/sys/unix"
)

// FuzzTake gives a Queue what another process may: a name that anybody chose, a
// descriptor of any kind, and the byte that gob carries. A name is refused
// before the kernel sees it, and what is refused is nowhere created.
func FuzzTake(f *testing.F) {
	for i, name := range []string{"", "a", "/", "/.", "/..", "/a/b", "/a\x00", "//", "/rawipc none", "/\xff", "/" + strings.Repeat("n", 255), "/" + strings.Repeat("n", 256)} {
		f.Add(name, byte(i), []byte{1}, uint16(i), uint16(64))
	}
	f.Add("/x", byte(6), []byte{}, uint16(0), uint16(0))
	f.Add("/x", byte(6), []byte{0, 0}, uint16(11), uint16(9000))
	q, _ := fresh(f, small(2))
	f.Fuzz(func(t *testing.T, name string, kind byte, gob []byte, messages, size uint16) {
		valid := len(name) > 1 && name[0] == '/' && len(name) <= 256 && !strings.ContainsAny(name[1:], "/\x00") && name != "/." && name != "/.."
		got, err := mq.Open(name, os.O_RDONLY)
		if err == nil { // somebody's
			got.Close()
		} else if refused := errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENAMETOOLONG); refused == valid {
			t.Errorf("Open of %q: %v", name, err)
		}
		if !valid {
			_, cerr := mq.Create(name, nil)
			uerr := mq.Unlink(name)
			if p := (*fs.PathError)(nil); !errors.As(cerr, &p) || !errors.As(uerr, &p) {
				t.Errorf("%q: Create: %v, Unlink: %v", name, cerr, uerr)
			}
		}
		wrong := fileOf(t, kind, q)
		var took mq.Queue
		if err := errors.Join(took.GobDecode(gob)); (err == nil) != (len(gob) == 1) {
			t.Errorf("GobDecode of %d bytes: %v", len(gob), err)
		}
		if err := took.TakeFiles([]*os.File{wrong}); err == nil {
			st, err := took.Stat()
			if err != nil || st.MaxMessages != 2 || st.MessageSize != 64 {
				t.Errorf("%+v, %v", st, err)
			}
			must(t, took.Close())
		} else if !errors.Is(err, unix.EBADF) {
			t.Errorf("kind %d: %v", kind%7, err)
		}
		wrong.Close() // TakeFiles leaves what it refuses to the caller
		own := freshName()
		made, err := mq.Create(own, &mq.Attr{MaxMessages: int(messages), MessageSize: int(size)})
		if err == nil {
			st, err := made.Stat()
			if messages != 0 && (err != nil || st.MaxMessages != int(messages) || st.MessageSize != int(size)) {
				t.Errorf("asked for %d of %d: %+v, %v", messages, size, st, err)
			}
			must(t, made.Close())
			must(t, mq.Unlink(own))
		} else if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENOMEM) {
			t.Errorf("Create of %d × %d: %v", messages, size, err)
		}
	})
}

// fileOf is a descriptor of some kind; the last is a queue's.
func fileOf(t *testing.T, kind byte, q *mq.Queue) *os.File {
	fd, other := -1, -1
	var err error
	switch kind % 7 {
	case 0:
		fd, err = unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	case 1, 2:
		var p [2]int
		err = unix.Pipe2(p[:], unix.O_CLOEXEC)
		fd, other = p[kind%7-1], p[2-kind%7]
	case 3:
		var p [2]int
		p, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		fd, other = p[0], p[1]
	case 4:
		fd, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	case 5:
		fd, err = unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	case 6:
		files, perr := q.PassFiles()
		must(t, perr)
		rc, perr := files[0].SyscallConn()
		must(t, perr)
		rc.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) })
	}
	must(t, err)
	if other >= 0 {
		unix.Close(other)
	}
	return os.NewFile(uintptr(fd), "fuzzed")
}
