package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// tagged returns files that can be told apart: each holds its number.
func tagged(t testing.TB, from, n int) []*os.File {
	t.Helper()
	files := make([]*os.File, n)
	for i := range files {
		fd, err := unix.MemfdCreate("tagged", unix.MFD_CLOEXEC)
		must(t, err)
		files[i] = os.NewFile(uintptr(fd), "tagged")
		_, err = fmt.Fprint(files[i], from+i)
		must(t, err)
	}
	return files
}

// wantTags closes the files after a look at what they hold and their flags.
func wantTags(t testing.TB, files []*os.File, from, n int) {
	t.Helper()
	if len(files) != n {
		t.Fatalf("%d files, want %d", len(files), n)
	}
	for i, f := range files {
		b := make([]byte, 20)
		k, err := f.ReadAt(b, 0)
		if err != io.EOF || string(b[:k]) != fmt.Sprint(from+i) {
			t.Fatalf("file %d holds %q, %v, want %d", i, b[:k], err, from+i)
		}
		if fl, err := unix.FcntlInt(uintptr(rawFD(t, f)), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
			t.Fatalf("not close-on-exec: %#x, %v", fl, err)
		}
	}
	closeFiles(files)
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func rounds(n int) int {
	if testing.Short() {
		return max(n/10, 20)
	}
	return n
}

// Messages with and without descriptors follow each other so closely that they
// are read ahead together: each comes with its own, whoever receives it.
func TestFilesComeWithTheirMessage(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		before := filesOpen(t)
		sizes := []int{0, 1, 100, 8000, 9000, 70_000}
		buf := make([]byte, 100_000)
		for round := range rounds(1000) {
			first := tagged(t, round, 3)
			a, b, c := sizes[round%6], sizes[round/6%6], sizes[round/36%6]
			done := make(chan error, 1)
			go func() {
				err := s.SendFiles(bg, bytes.Repeat([]byte("a"), a), first[0])
				err = errors.Join(err, s.Send(bg, bytes.Repeat([]byte("b"), b)))
				err = errors.Join(err, s.SendFiles(bg, bytes.Repeat([]byte("c"), c), first[1:]...))
				done <- errors.Join(err, s.SendFiles(bg, nil, first[2], first[1]))
			}()
			get := func(size, from, count int) {
				t.Helper()
				n, files, err := r.RecvFiles(bg, buf, 2)
				if err != nil || n != size {
					t.Fatalf("round %d: %d bytes of %d, %v", round, n, size, err)
				}
				wantTags(t, files, from, count)
			}
			plain := func(size int) {
				t.Helper()
				if n, err := r.Recv(bg, buf); err != nil || n != size {
					t.Fatalf("round %d: %d bytes of %d, %v", round, n, size, err)
				}
			}
			within(t, "a round", func() {
				if round%2 == 0 {
					get(a, round, 1)
				} else {
					plain(a)
				}
				get(b, 0, 0)
				get(c, round+1, 2)
				if round%3 == 0 {
					plain(0)
				} else {
					_, files, err := r.RecvFiles(bg, buf, 9)
					must(t, err)
					if len(files) != 2 {
						t.Fatal(len(files))
					}
					wantTags(t, files[:1], round+2, 1)
					wantTags(t, files[1:], round+1, 1)
				}
				must(t, <-done)
			})
			closeFiles(first)
		}
		if n := filesOpen(t); n > before {
			t.Errorf("%d descriptors, before %d", n, before)
		}
	}, "Pair", "PacketPair")
}

// Receivers that are cancelled in mid-frame, or whose buffer is too small, leave
// the descriptors to the next.
func TestFilesOfAnUnfinishedMessage(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		files := tagged(t, 7, 2)
		defer closeFiles(files)
		must(t, s.SendFiles(bg, []byte("hello"), files...))
		_, _, err := r.RecvFiles(bg, make([]byte, 2), 9)
		wantErr(t, "RecvFiles", err, pipe.ErrShortBuffer)
		n, got, err := r.RecvFiles(bg, make([]byte, 9), 9)
		if err != nil || n != 5 {
			t.Fatal(n, err)
		}
		wantTags(t, got, 7, 2)
		if t.Name() == "TestFilesOfAnUnfinishedMessage/PacketPair" {
			return
		}
		big := make([]byte, 1<<20)
		untilMoved(t, "SendFiles", func(ctx context.Context) bool {
			err := s.SendFiles(ctx, big, files...)
			wantErr(t, "SendFiles", err, context.DeadlineExceeded)
			part := (*pipe.PartialError)(nil)
			return errors.As(err, &part)
		})
		untilMoved(t, "RecvFiles", func(ctx context.Context) bool {
			_, _, err := r.RecvFiles(ctx, big, 9)
			wantErr(t, "RecvFiles", err, context.DeadlineExceeded)
			_, err = r.PassFiles()
			return err != nil // it holds a part
		})
		go s.Flush(bg)
		within(t, "RecvFiles", func() { n, got, err = r.RecvFiles(bg, big, 9) })
		if err != nil || n != len(big) {
			t.Fatal(n, err)
		}
		wantTags(t, got, 7, 2)
	}, "Pair", "PacketPair")
}

// What a receiver holds when it is closed is closed.
func TestFilesOfAClosedConn(t *testing.T) {
	before := filesOpen(t)
	for range rounds(200) {
		s, r, err := pipe.Pair()
		must(t, err)
		files := tagged(t, 0, 2)
		must(t, s.Send(bg, []byte("x")))
		must(t, s.SendFiles(bg, []byte("y"), files...))
		_, err = r.Recv(bg, make([]byte, 1))
		must(t, err)
		must(t, r.Close())
		must(t, s.Close())
		closeFiles(files)
	}
	if n := filesOpen(t); n > before {
		t.Errorf("%d descriptors, before %d", n, before)
	}
	s, r, err := pipe.Pair()
	must(t, err)
	files := tagged(t, 0, 1)
	held := filesOpen(t)
	rawRights(t, s, []byte{9, 0, 0, 0, 0, 0, 0, 0, 'h'}, files)
	done := make(chan error)
	go func() { _, _, err := r.RecvFiles(bg, make([]byte, 9), 1); done <- err }()
	for filesOpen(t) == held {
		time.Sleep(time.Millisecond)
	}
	must(t, r.Close())
	within(t, "RecvFiles", func() { wantErr(t, "RecvFiles", <-done, os.ErrClosed) })
	if n := filesOpen(t); n != held-1 {
		t.Errorf("%d descriptors, want %d", n, held-1)
	}
	closeFiles(files)
	s.Close()
}

// rawRights sends bytes and descriptors past the frames.
func rawRights(t testing.TB, c *pipe.Conn, b []byte, files []*os.File) {
	t.Helper()
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = rawFD(t, f)
	}
	must(t, unix.Sendmsg(rawFD(t, c), b, unix.UnixRights(fds...), nil, 0))
}
