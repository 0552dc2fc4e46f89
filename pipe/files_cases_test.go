package pipe_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

func TestCase173_LargeDescriptorNumber(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		f := tagged(t, 3, 1)[0]
		fd, err := unix.FcntlInt(uintptr(rawFD(t, f)), unix.F_DUPFD_CLOEXEC, 1500)
		if err == unix.EINVAL {
			t.Skip("RLIMIT_NOFILE is below 1500")
		}
		must(t, err)
		f.Close()
		high := os.NewFile(uintptr(fd), "high")
		must(t, s.SendFiles(bg, []byte("x"), high))
		must(t, high.Close())
		_, files, err := r.RecvFiles(bg, make([]byte, 1), 1)
		must(t, err)
		wantTags(t, files, 3, 1)
	}, "Pair", "PacketPair")
}

func TestCase174_NoneOrWrongFiles(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		must(t, s.SendFiles(bg, []byte("none")))
		n, files, err := r.RecvFiles(bg, make([]byte, 9), 9)
		if n != 4 || files != nil || err != nil {
			t.Errorf("%d, %v, %v", n, files, err)
		}
		closed := tagged(t, 0, 1)
		closeFiles(closed)
		wantErr(t, "nil", s.SendFiles(bg, nil, os.Stdout, nil), os.ErrInvalid)
		wantErr(t, "closed", s.SendFiles(bg, nil, os.Stdout, closed[0]), os.ErrClosed)
		_, _, err = r.RecvFiles(bg, nil, -1)
		wantErr(t, "max -1", err, os.ErrInvalid)
		must(t, s.CloseWrite())
		_, _, err = r.RecvFiles(bg, nil, 1)
		wantErr(t, "end", err, io.EOF)
	}, "Pair", "PacketPair")
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	wantErr(t, "pipe", w.SendFiles(bg, nil, os.Stdout), unix.EOPNOTSUPP)
	_, _, err = r.RecvFiles(bg, nil, 1)
	wantErr(t, "pipe", err, unix.EOPNOTSUPP)
}

func TestCase175_ManyFiles(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		files := tagged(t, 0, 300)
		defer closeFiles(files)
		before := filesOpen(t)
		for _, n := range []int{254, 300} {
			err := s.SendFiles(bg, []byte("x"), files[:n]...)
			wantErr(t, fmt.Sprint(n, " files"), err, unix.EINVAL)
			if want := fmt.Sprintf("%d files with one message, at most 253", n); !strings.Contains(err.Error(), want) {
				t.Errorf("error %q, want %q", err, want)
			}
		}
		buf := make([]byte, 9)
		for range rounds(100) {
			must(t, s.SendFiles(bg, []byte("y"), files[:pipe.MaxFiles]...))
			must(t, s.SendFiles(bg, []byte("zz"), files[:pipe.MaxFiles]...))
			n, _, err := r.RecvFiles(bg, buf, 10)
			many := (*pipe.TooManyFilesError)(nil)
			if n != 1 || !errors.As(err, &many) || *many != (pipe.TooManyFilesError{Files: 253, Max: 10}) || !errors.Is(err, pipe.ErrFiles) {
				t.Fatal(n, err)
			}
			n, got, err := r.RecvFiles(bg, buf, pipe.MaxFiles)
			if n != 2 || err != nil {
				t.Fatal(n, err)
			}
			wantTags(t, got, 0, pipe.MaxFiles)
		}
		if n := filesOpen(t); n > before {
			t.Errorf("%d descriptors, before %d", n, before)
		}
	}, "Pair", "PacketPair")
}

// A peer that puts descriptors beside every byte of one message gets an error
// and no memory, and nothing stays open.
func TestTooManyFilesInOneFrame(t *testing.T) {
	s, r, err := pipe.Pair()
	must(t, err)
	closeAfter(t, s, r)
	files := tagged(t, 0, 100)
	before := filesOpen(t)
	go func() {
		rawRights(t, s, []byte{20, 0, 0, 0, 0, 0, 0, 0}, files)
		for range 20 {
			rawRights(t, s, []byte("x"), files)
		}
		s.SendFiles(bg, []byte("next"), files[0])
	}()
	var n int
	within(t, "RecvFiles", func() { n, _, err = r.RecvFiles(bg, make([]byte, 20), 100_000) })
	wantErr(t, "RecvFiles", err, pipe.ErrFiles)
	if n != 20 {
		t.Error(n)
	}
	n, got, err := r.RecvFiles(bg, make([]byte, 20), 1)
	if n != 4 || err != nil {
		t.Fatal(n, err)
	}
	wantTags(t, got, 0, 1)
	if n := filesOpen(t); n > before {
		t.Errorf("%d descriptors, before %d", n, before)
	}
	closeFiles(files)
}

func TestCase182_ClosedAfterSending(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		files := tagged(t, 5, 2)
		must(t, s.SendFiles(bg, []byte("x"), files...))
		closeFiles(files)
		must(t, s.Close())
		_, got, err := r.RecvFiles(bg, make([]byte, 1), 2)
		must(t, err)
		wantTags(t, got, 5, 2)
	}, "Pair", "PacketPair")
}
