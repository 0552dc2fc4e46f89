package pipe_test

import (
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
)

func TestFIFO(t *testing.T) {
	before := fdCount(t)
	name := filepath.Join(t.TempDir(), "fifo")
	must(t, pipe.Mkfifo(name, 0o600))
	wantErr(t, "Mkfifo again", pipe.Mkfifo(name, 0o600), fs.ErrExist)

	// Nobody reads: opening to send waits, and is cancelled.
	start := time.Now()
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	_, err := pipe.OpenFIFO(ctx, name, os.O_WRONLY)
	wantErr(t, "OpenFIFO", err, context.DeadlineExceeded)
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("ended after %v", d)
	}

	type opened struct {
		c   *pipe.Conn
		err error
	}
	ch := make(chan opened, 1)
	go func() {
		c, err := pipe.OpenFIFO(bg, name, os.O_WRONLY)
		ch <- opened{c, err}
	}()
	blocked()
	r, err := pipe.OpenFIFO(bg, name, os.O_RDONLY)
	must(t, err)
	var w opened
	within(t, "OpenFIFO", func() { w = <-ch })
	must(t, w.err)
	for range 2 {
		must(t, w.c.Send(bg, []byte("by name")))
		if got, err := r.RecvAlloc(bg, 10); err != nil || string(got) != "by name" {
			t.Fatalf("%q, %v", got, err)
		}
		must(t, w.c.CloseWrite())
		_, err = r.Recv(bg, nil)
		wantErr(t, "end", err, io.EOF)
		w.c, err = pipe.OpenFIFO(bg, name, os.O_WRONLY) // the next sender
		must(t, err)
	}
	must(t, w.c.Close())
	must(t, r.Close())

	// A receiver that is first waits for its sender and doesn't take the
	// empty FIFO for the end.
	r, err = pipe.OpenFIFO(bg, name, os.O_RDONLY)
	must(t, err)
	ctx, cancel = context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	_, err = r.Recv(ctx, nil)
	wantErr(t, "Recv without a sender", err, context.DeadlineExceeded)
	must(t, r.Close())
	// Also not one that comes, sends and goes between two looks.
	for range 300 {
		r, err := pipe.OpenFIFO(bg, name, os.O_RDONLY)
		must(t, err)
		done := make(chan error, 1)
		go func() {
			w, err := pipe.OpenFIFO(bg, name, os.O_WRONLY)
			if err == nil {
				err = w.Send(bg, []byte("x"))
				w.Close()
			}
			done <- err
		}()
		within(t, "Recv", func() { _, err = r.RecvAlloc(bg, 1) })
		must(t, err)
		must(t, <-done)
		_, err = r.RecvAlloc(bg, 1)
		wantErr(t, "after it", err, io.EOF)
		must(t, r.Close())
	}

	both, err := pipe.OpenFIFO(bg, name, os.O_RDWR)
	must(t, err)
	must(t, both.Send(bg, []byte("self")))
	if got, err := both.RecvAlloc(bg, 4); err != nil || string(got) != "self" {
		t.Errorf("%q, %v", got, err)
	}
	must(t, both.Close())

	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	must(t, os.WriteFile(plain, nil, 0o600))
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	must(t, err)
	for _, flag := range []int{os.O_RDONLY, os.O_WRONLY} {
		_, err = pipe.OpenFIFO(bg, plain, flag)
		wantErr(t, "plain file", err, os.ErrInvalid)
		_, err = pipe.OpenFIFO(bg, filepath.Join(dir, "socket"), flag)
		wantErr(t, "socket", err, os.ErrInvalid)
		_, err = pipe.OpenFIFO(bg, filepath.Join(dir, "absent"), flag)
		wantErr(t, "absent", err, fs.ErrNotExist)
	}
	_, err = pipe.OpenFIFO(bg, name, os.O_WRONLY|os.O_CREATE)
	wantErr(t, "flag", err, os.ErrInvalid)
	l.Close()
	if n := fdCount(t); n > before {
		t.Errorf("%d descriptors, before %d", n, before)
	}
}
