package pipe_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// A Conn lent to a child: the child finds out by itself what it has.
func TestHandle(t *testing.T) {
	for _, k := range kinds[:2] {
		t.Run(k.name, func(t *testing.T) {
			before := fdCount(t)
			mine, lent, err := k.open()
			must(t, err)
			closeAfter(t, mine, lent)
			files, err := lent.PassFiles()
			must(t, err)
			cmd := helper(t, "echo", files...)
			must(t, cmd.Start())
			must(t, lent.Close())
			for _, size := range []int{0, 1, 5000, 100_000} {
				msg := bytes.Repeat([]byte("e"), size)
				within(t, "echo", func() {
					must(t, mine.Send(bg, msg))
					got, err := mine.RecvAlloc(bg, size)
					if err != nil || !bytes.Equal(got, msg) {
						t.Errorf("size %d: %d bytes, %v", size, len(got), err)
					}
				})
			}
			must(t, mine.Close())
			within(t, "child", func() {
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
			})
			if n := fdCount(t); n > before {
				t.Errorf("%d descriptors, before %d", n, before)
			}
		})
	}
}

func TestPassFilesRefuses(t *testing.T) {
	s, r, err := pipe.Pair()
	must(t, err)
	closeAfter(t, s, r)
	must(t, s.Send(bg, []byte("one")))
	must(t, s.Send(bg, []byte("two")))
	_, err = r.PassFiles() // nothing has been read: it is all in the kernel
	must(t, err)
	_, err = r.RecvAlloc(bg, 3)
	must(t, err)
	if _, err = r.PassFiles(); !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), "11 bytes are buffered unread") {
		t.Errorf("PassFiles = %v", err)
	}
	_, err = r.RecvAlloc(bg, 3)
	must(t, err)
	_, err = r.PassFiles()
	must(t, err)
}

func TestTakeFiles(t *testing.T) {
	before := fdCount(t)
	for _, k := range kinds {
		s, r, err := k.open()
		must(t, err)
		take := func(c *pipe.Conn) *pipe.Conn {
			fd, err := unix.Dup(rawFD(t, c))
			must(t, err)
			n := new(pipe.Conn)
			must(t, n.TakeFiles([]*os.File{os.NewFile(uintptr(fd), "")}))
			if fl, err := unix.FcntlInt(uintptr(rawFD(t, n)), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
				t.Errorf("F_GETFD: %#x, %v", fl, err)
			}
			must(t, c.Close())
			return n
		}
		s, r = take(s), take(r)
		must(t, s.Send(bg, []byte("a")))
		must(t, s.Send(bg, nil))
		must(t, s.Send(bg, []byte("bc")))
		for _, want := range []string{"a", "", "bc"} {
			if got, err := r.RecvAlloc(bg, 9); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v", k.name, got, err)
			}
		}
		if k.name == "OneWay" {
			wantErr(t, "Send on r", r.Send(bg, nil), unix.EBADF)
			_, err := s.Recv(bg, nil)
			wantErr(t, "Recv on w", err, unix.EBADF)
		}
		wantErr(t, "used Conn", s.TakeFiles([]*os.File{os.Stdin}), os.ErrInvalid)
		wantErr(t, "no files", new(pipe.Conn).TakeFiles(nil), os.ErrInvalid)
		s.Close()
		r.Close()
	}
	f, err := os.Open("/dev/null")
	must(t, err)
	_, err = pipe.FromFile(f)
	wantErr(t, "/dev/null", err, os.ErrInvalid)
	must(t, f.Close()) // still ours
	_, err = pipe.FromFile(nil)
	wantErr(t, "nil", err, os.ErrInvalid)
	_, err = pipe.FromFile(f)
	wantErr(t, "closed file", err, os.ErrClosed)
	l, err := net.Listen("unix", t.TempDir()+"/l")
	must(t, err)
	lf, err := l.(*net.UnixListener).File()
	must(t, err)
	_, err = pipe.FromFile(lf)
	wantErr(t, "listener", err, os.ErrInvalid)
	lf.Close()
	l.Close()
	if n := fdCount(t); n > before {
		t.Errorf("%d descriptors, before %d", n, before)
	}
}

// os.Pipe's files are ones whose Fd method would set them to blocking.
func TestFromFileOfOSPipe(t *testing.T) {
	pr, pw, err := os.Pipe()
	must(t, err)
	r, err := pipe.FromFile(pr)
	must(t, err)
	w, err := pipe.FromFile(pw)
	must(t, err)
	closeAfter(t, r, w)
	files, err := r.PassFiles()
	must(t, err)
	if fl, err := unix.FcntlInt(files[0].Fd(), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK == 0 {
		t.Errorf("after Fd: flags %#x, %v", fl, err)
	}
	must(t, r.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
	within(t, "Recv", func() { _, err = r.Recv(bg, nil) })
	wantErr(t, "Recv", err, os.ErrDeadlineExceeded)
}

func TestGobHandle(t *testing.T) {
	type args struct {
		C *pipe.Conn
		V pipe.Conn
		N *pipe.Conn
		I int
	}
	s, r, err := pipe.Pair()
	must(t, err)
	closeAfter(t, s, r)
	var buf bytes.Buffer
	in := &args{C: s, I: 7}
	must(t, gob.NewEncoder(&buf).Encode(in))
	var out args
	must(t, gob.NewDecoder(&buf).Decode(&out))
	if out.C == nil || out.N != nil || out.I != 7 {
		t.Errorf("%+v", out.I)
	}
	b, err := s.GobEncode()
	if len(b) != 1 || err != nil {
		t.Errorf("% x, %v", b, err)
	}
	for _, n := range []int{0, 2} {
		wantErr(t, "GobDecode", new(pipe.Conn).GobDecode(make([]byte, n)), os.ErrInvalid)
	}
}
