package pipe_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// FuzzFiles has a hostile peer write to a local socket, stream or packets, in
// pieces of any length with any number of descriptors attached anywhere, while
// the receiver calls whatever it likes. Each call returns what is documented,
// and in the end no descriptor is left, whoever did not ask for it.
//
// pieces are two bytes each: a length, and in the upper half how many
// descriptors. calls are what the receiver does between them.
func FuzzFiles(f *testing.F) {
	frame := func(n uint64, body string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, n), body...)
	}
	two := append(frame(5, "hello"), frame(0, "")...)
	for packets := range byte(2) {
		f.Add(packets, two, []byte{0x1d, 0x08}, []byte{0, 0, 0})
		f.Add(packets, two, []byte{0x34, 0x11, 0x08}, []byte{0, 1, 2, 3, 4, 5})
		f.Add(packets, two, []byte{0xf3, 0xf2, 0xf1, 0xf7}, []byte{1, 1, 4})
		f.Add(packets, frame(1<<63, "x"), []byte{0x29}, []byte{0})
		f.Add(packets, frame(900, "x"), []byte{0x29}, []byte{0, 2})
		f.Add(packets, []byte{}, []byte{0x30}, []byte{0, 0})
		f.Add(packets, []byte("abc"), []byte{0x01, 0x22}, []byte{2, 2, 2})
	}
	null, err := os.Open(os.DevNull)
	must(f, err)
	f.Cleanup(func() { null.Close() })
	fd := int(null.Fd())
	f.Fuzz(func(t *testing.T, packets byte, data, pieces, calls []byte) {
		if len(data) > 4000 || len(pieces) > 40 || len(calls) > 40 {
			return
		}
		before := filesOpen(t)
		typ := unix.SOCK_STREAM
		if packets%2 == 1 {
			typ = unix.SOCK_SEQPACKET
		}
		p, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		must(t, err)
		r, err := pipe.FromFile(os.NewFile(uintptr(p[0]), "hostile"))
		must(t, err)
		for i, n := range pieces {
			piece := data[:min(len(data), int(n&15))]
			if i == len(pieces)-1 {
				piece = data
			}
			data = data[len(piece):]
			var rights []byte
			if k := int(n >> 4); k == 15 {
				rights = rightsOf(fd, 253)
			} else if k > 0 {
				rights = rightsOf(fd, k)
			}
			if err := unix.Sendmsg(p[1], piece, rights, nil, unix.MSG_NOSIGNAL); err != nil &&
				err != unix.EPIPE && err != unix.ECONNRESET && err != unix.EAGAIN && err != unix.EINVAL && err != unix.ETOOMANYREFS {
				t.Fatal(err)
			}
			if i < len(calls) && !callOne(t, r, calls[i]) {
				break
			}
		}
		unix.Close(p[1])
		for i := 0; ; i++ {
			call := byte(i)
			if i < len(calls) {
				call = calls[i]
			}
			if i > 100_000 { // some of them only look
				t.Fatal("no end")
			}
			if !callOne(t, r, call) {
				break
			}
		}
		if err := r.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		if after := filesOpen(t); after > before {
			t.Errorf("%d descriptors, %d before", after, before)
		}
	})
}

func rightsOf(fd, n int) []byte {
	fds := make([]int, n)
	for i := range fds {
		fds[i] = fd
	}
	return unix.UnixRights(fds...)
}

// callOne makes one call and says whether there may be more to come.
func callOne(t *testing.T, r *pipe.Conn, call byte) bool {
	ctx, cancel := context.WithTimeout(bg, 50*time.Microsecond)
	defer cancel()
	buf := make([]byte, 64)
	if call&8 != 0 {
		buf = buf[:3]
	}
	n, most := 0, len(buf)
	var err error
	var files []*os.File
	switch call % 6 {
	case 0, 1:
		max := int(call >> 4)
		n, files, err = r.RecvFiles(ctx, buf, max)
		if len(files) > max || len(files) > 0 && err != nil {
			t.Errorf("%d files, at most %d, %v", len(files), max, err)
		}
	case 2:
		n, err = r.Recv(ctx, buf)
	case 3:
		most = 2000
		var b []byte
		b, err = r.RecvAlloc(ctx, most)
		n = len(b)
	case 4:
		if _, err = r.Poll(ctx); err == nil {
			r.SetReadDeadline(time.Now().Add(50 * time.Microsecond)) // for half a length
			n, err = r.Read(buf)
			r.SetReadDeadline(time.Time{})
		}
	case 5:
		_, err = r.Poll(ctx)
	}
	for _, f := range files {
		f.Close()
	}
	if n > most {
		t.Errorf("%d bytes in %d", n, most)
	}
	short := (*pipe.ShortBufferError)(nil)
	switch {
	case err == nil, errors.Is(err, pipe.ErrFiles):
		return true
	case errors.As(err, &short):
		// The message stays: take it whole, or give up.
		if short.Size > 4000 {
			return false
		}
		_, err := r.Recv(ctx, make([]byte, short.Size))
		return err == nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, pipe.ErrTooLarge), errors.Is(err, os.ErrClosed),
		errors.Is(err, unix.ECONNRESET):
		return false
	}
	t.Errorf("call %d: %v", call%6, err)
	return false
}
