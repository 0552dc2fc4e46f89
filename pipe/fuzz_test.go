package pipe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// FuzzRecv gives a receiver what a hostile peer wrote. It must return the frames
// that are whole and then one of the errors that say what was wrong.
func FuzzRecv(f *testing.F) {
	frame := func(n uint64, body string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, n), body...)
	}
	f.Add(frame(2, "hi"), byte(0))
	f.Add(append(frame(0, ""), frame(3, "abc")...), byte(1))
	f.Add(frame(1<<63, ""), byte(2))
	f.Add(frame(100, "short"), byte(1))
	f.Add([]byte{1, 2, 3}, byte(0))
	f.Fuzz(func(t *testing.T, data []byte, how byte) {
		if len(data) > 60_000 {
			return
		}
		r, w, err := pipe.OneWay()
		must(t, err)
		defer r.Close()
		if len(data) > 0 {
			if n, err := unix.Write(rawFD(t, w), data); n != len(data) || err != nil {
				t.Fatal(n, err)
			}
		}
		must(t, w.Close())
		const max = 1000
		for rest := data; ; {
			var got []byte
			var err error
			switch how % 2 {
			case 0:
				got, err = r.RecvAlloc(bg, max)
			case 1:
				buf := make([]byte, max)
				var n int
				n, err = r.Recv(bg, buf)
				got = buf[:n]
			}
			size := uint64(0)
			if len(rest) >= 8 {
				size = binary.LittleEndian.Uint64(rest)
			}
			switch {
			case len(rest) == 0:
				wantErr(t, "end", err, io.EOF)
			case len(rest) < 8:
				wantErr(t, "half a length", err, io.ErrUnexpectedEOF)
			case size > max && (how%2 == 0 || size > 1<<63-1):
				if !errors.Is(err, pipe.ErrTooLarge) || !errors.Is(r.Close(), os.ErrClosed) {
					t.Fatal(err)
				}
			case size > max:
				wantErr(t, "large", err, pipe.ErrShortBuffer)
			case size > uint64(len(rest)-8):
				wantErr(t, "half a message", err, io.ErrUnexpectedEOF)
			default:
				if err != nil || string(got) != string(rest[8:8+size]) {
					t.Fatalf("%q, %v", got, err)
				}
				rest = rest[8+size:]
				continue
			}
			return
		}
	})
}

// FuzzControl gives the parser of control messages what no kernel would. It
// must neither panic nor find more descriptors than there is room for.
func FuzzControl(f *testing.F) {
	rights := unix.UnixRights(3, 4, 5)
	f.Add(rights)
	f.Add(rights[:len(rights)-5])
	f.Add(append(unix.UnixRights(1), rights...))
	f.Add(append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, rights[8:]...))
	f.Add(make([]byte, unix.SizeofCmsghdr))
	f.Fuzz(func(t *testing.T, data []byte) {
		fds, others, _ := pipe.ParseControl(data)
		if n := len(fds) + len(others); n*4 > len(data) {
			t.Fatalf("%d descriptors in %d bytes", n, len(data))
		}
		if one := unix.UnixRights(7, 8); len(data) == 0 || string(data) == string(rights) {
			fds, _, _ := pipe.ParseControl(append(bytes.Clone(data), one...))
			if k := len(fds); k < 2 || fds[k-2] != 7 || fds[k-1] != 8 {
				t.Fatalf("descriptors %v", fds)
			}
		}
	})
}
