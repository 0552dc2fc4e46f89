package pipe_test

import (
	"os"
	"testing"

	"github.com/rawipc/rawipc/pipe"
)

// A file of a Conn is the same pipe or socket, and outlives the Conn.
func TestFile(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		before := fdCount(t)
		f, err := s.File()
		must(t, err)
		if fdCount(t) != before+1 {
			t.Errorf("%d descriptors, before %d", fdCount(t), before)
		}
		must(t, s.Close())
		other, err := pipe.FromFile(f)
		must(t, err)
		must(t, other.Send(bg, []byte("hello")))
		buf := make([]byte, 8)
		if n, err := r.Recv(bg, buf); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		must(t, other.Close())
		_, err = s.File()
		wantErr(t, "File of a closed Conn", err, os.ErrClosed)
		_, err = new(pipe.Conn).File()
		wantErr(t, "File of a zero Conn", err, os.ErrInvalid)
	})
}

// What has been read ahead would be missing in the file.
func TestFileOfPartlyRead(t *testing.T) {
	s, r := openPair(t)
	must(t, s.Send(bg, []byte("one")))
	must(t, s.Send(bg, []byte("two")))
	buf := make([]byte, 8)
	_, err := r.Recv(bg, buf) // reads ahead
	must(t, err)
	f, err := r.File()
	wantErr(t, "File", err, os.ErrInvalid)
	if f != nil {
		t.Error("a file")
	}
	_, err = r.Recv(bg, buf)
	must(t, err)
	f, err = r.File()
	must(t, err)
	must(t, f.Close())
	must(t, s.Send(bg, []byte("three")))
	if n, err := r.Recv(bg, buf); err != nil || string(buf[:n]) != "three" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}
