package pipe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pipe"
)

// both are the ends of a pair, sender first.
type both struct{ s, r *pipe.Conn }

func (b both) Close() error { return errors.Join(b.s.Close(), b.r.Close()) }

func (b both) pass(text string) error {
	if err := b.s.Send(bg, []byte(text)); err != nil {
		return err
	}
	return b.take(text)
}

func (b both) take(text string) error {
	buf := make([]byte, 64)
	n, err := b.r.Recv(bg, buf)
	if err == nil && string(buf[:n]) != text {
		err = fmt.Errorf("received %q, want %q", buf[:n], text)
	}
	return err
}

// Every system call of every operation that makes some fails: the error says
// which and why, nothing is left behind, the conn serves and the next try works.
func TestErrnos(t *testing.T) {
	errnos := []syscall.Errno{unix.EINTR, unix.EXFULL, unix.ENOMEM, unix.EMFILE, unix.EPERM}
	if testing.Short() {
		errnos = errnos[:2]
	}
	dir := t.TempDir()
	serve := func(b both) error { return b.pass("afterwards") }
	type row struct {
		name string
		fuzz.Round
	}
	var rows []row
	for _, k := range kinds {
		open := func() (both, error) { s, r, err := k.open(); return both{s, r}, err }
		rows = append(rows,
			row{k.name, fuzz.Making(open, serve)},
			row{k.name + "/Send", fuzz.Using(open, func(b both) error { return b.s.Send(bg, []byte("it")) },
				func(b both) error { return errors.Join(b.take("it"), serve(b)) })},
			row{k.name + "/Recv", func(fail func(func() error) error) error {
				b, err := open()
				if err != nil {
					return err
				}
				defer b.Close()
				if err := b.s.Send(bg, []byte("it")); err != nil {
					return err
				}
				if fail(func() error { return b.take("it") }) != nil {
					if err := b.take("it"); err != nil {
						return fmt.Errorf("the second try: %w", err)
					}
				}
				return serve(b)
			}},
			row{k.name + "/Poll", fuzz.Using(func() (both, error) {
				b, err := open()
				if err == nil {
					err = b.s.Send(bg, []byte("it"))
				}
				return b, err
			}, func(b both) error { _, err := b.r.Poll(bg); return err },
				func(b both) error { return errors.Join(b.take("it"), serve(b)) })},
			row{k.name + "/File", fuzz.Using(open, func(b both) error {
				f, err := b.r.File()
				if err != nil {
					return err
				}
				return f.Close()
			}, serve)},
		)
	}
	for _, k := range kinds[:2] { // sockets
		open := func() (both, error) { s, r, err := k.open(); return both{s, r}, err }
		rows = append(rows,
			row{k.name + "/SendFiles", fuzz.Using(open, func(b both) error { return b.s.SendFiles(bg, []byte("it"), os.Stdin) },
				func(b both) error { return errors.Join(b.takeFiles(), serve(b)) })},
			row{k.name + "/RecvFiles", func(fail func(func() error) error) error {
				b, err := open()
				if err != nil {
					return err
				}
				defer b.Close()
				if err := b.s.SendFiles(bg, []byte("it"), os.Stdin); err != nil {
					return err
				}
				if fail(b.takeFiles) != nil {
					if err := b.takeFiles(); err != nil {
						return fmt.Errorf("the second try: %w", err)
					}
				}
				return serve(b)
			}},
			row{k.name + "/Peer", fuzz.Using(open, func(b both) error { _, err := b.s.Peer(); return err }, serve)},
			row{k.name + "/PeerFile", fuzz.Using(open, func(b both) error {
				f, err := b.s.PeerFile()
				if err == nil {
					f.Close()
				}
				return err
			}, serve)},
			row{k.name + "/CloseWrite", fuzz.Using(open, func(b both) error { return b.s.CloseWrite() }, func(b both) error {
				if _, err := b.r.Recv(bg, nil); err != io.EOF {
					return fmt.Errorf("the other end got %v, want EOF", err)
				}
				return nil
			})},
		)
	}
	name := filepath.Join(dir, "socket")
	listen := func() (*pipe.Listener, error) { return pipe.Listen("unix", name) }
	dial := func(l *pipe.Listener) error {
		c, err := pipe.Dial(bg, "unix", name)
		if err != nil {
			return err
		}
		a, err := l.AcceptConn(bg)
		if err != nil {
			c.Close()
			return err
		}
		b := both{c, a}
		return errors.Join(serve(b), b.Close())
	}
	rows = append(rows,
		row{"Listen", fuzz.Making(listen, dial)},
		row{"Dial", func(fail func(func() error) error) error {
			l, err := listen()
			if err != nil {
				return err
			}
			defer l.Close()
			return fuzz.Making(func() (*pipe.Conn, error) { return pipe.Dial(bg, "unix", name) }, nil)(fail)
		}},
		row{"AcceptConn", func(fail func(func() error) error) error {
			l, err := listen()
			if err != nil {
				return err
			}
			defer l.Close()
			// One for a try that took it and failed, one for the next.
			for range 2 {
				c, err := pipe.Dial(bg, "unix", name)
				if err != nil {
					return err
				}
				defer c.Close()
			}
			return fuzz.Making(func() (*pipe.Conn, error) { return l.AcceptConn(bg) }, nil)(fail)
		}},
		row{"Mkfifo", func(fail func(func() error) error) error {
			name := filepath.Join(dir, "fifo")
			defer os.Remove(name)
			if fail(func() error { return pipe.Mkfifo(name, 0o600) }) != nil {
				return pipe.Mkfifo(name, 0o600)
			}
			return nil
		}},
		row{"OpenFIFO", func(fail func(func() error) error) error {
			name := filepath.Join(dir, "fifo")
			defer os.Remove(name)
			if err := pipe.Mkfifo(name, 0o600); err != nil {
				return err
			}
			return fuzz.Making(func() (*pipe.Conn, error) { return pipe.OpenFIFO(bg, name, os.O_RDWR) }, nil)(fail)
		}},
		row{"OpenFIFO without a reader", func(fail func(func() error) error) error {
			name := filepath.Join(dir, "fifo")
			defer os.Remove(name)
			if err := pipe.Mkfifo(name, 0o600); err != nil {
				return err
			}
			alone := func() error {
				soon, cancel := context.WithTimeout(bg, time.Millisecond)
				defer cancel()
				c, err := pipe.OpenFIFO(soon, name, os.O_WRONLY)
				if err == nil {
					c.Close()
					return errors.New("opened without a reader")
				}
				if errors.Is(err, context.DeadlineExceeded) {
					return nil
				}
				return err
			}
			if fail(alone) != nil {
				return alone()
			}
			return nil
		}},
		row{"TakeFiles", func(fail func(func() error) error) error {
			b, err := openOneWay()
			if err != nil {
				return err
			}
			defer b.Close() // an error: one's file is taken
			files, err := b.s.PassFiles()
			if err != nil {
				return err
			}
			taken := new(pipe.Conn)
			op := func() error { return taken.TakeFiles(files) }
			if fail(op) != nil {
				if err := op(); err != nil {
					return err
				}
			}
			return errors.Join(serve(both{s: taken, r: b.r}), taken.Close())
		}},
		row{"SetSize", fuzz.Using(openOneWay, func(b both) error { _, err := pipe.SetSize(b.s, 1<<16); return err }, serve)},
		row{"Splice", transfer(pipe.Splice)},
		row{"Tee", transfer(pipe.Tee)},
		row{"Select", fuzz.Using(func() (both, error) {
			b, err := openOneWay()
			if err == nil {
				err = b.s.Send(bg, []byte("it"))
			}
			return b, err
		}, func(b both) error { _, err := pipe.Select(bg, b.r); return err },
			func(b both) error { return errors.Join(b.take("it"), serve(b)) })},
	)
	sites, rounds := 0, 0
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if strings.HasSuffix(r.name, "/PeerFile") && fuzz.Without("peer_pidfd") {
				t.Skip("without SO_PEERPIDFD")
			}
			rep := fuzz.FailEach(t, &fuzz.Faults{
				Errnos: errnos,
				// What the poller did not take: package os keeps the errno to itself.
				Also: []error{os.ErrNoDeadline},
			}, r.Round)
			t.Logf("%d system calls, %d rounds, %d without an error", rep.Sites, rep.Rounds, rep.Tolerated)
			sites += rep.Sites
			rounds += rep.Rounds
		})
	}
	t.Logf("%d sites, %d calls refused", sites, rounds)
}

func openOneWay() (both, error) {
	r, s, err := pipe.OneWay()
	return both{s, r}, err
}

func (b both) takeFiles() error {
	_, files, err := b.r.RecvFiles(bg, make([]byte, 64), 1)
	for _, f := range files {
		f.Close()
	}
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("received %d files, want 1", len(files))
	}
	return err
}

// transfer is the round of Splice and Tee: five bytes, from pipe to pipe.
func transfer(f func(ctx context.Context, dst, src syscall.Conn, n int64) (int64, error)) fuzz.Round {
	return func(fail func(func() error) error) error {
		src, in, err := os.Pipe()
		if err != nil {
			return err
		}
		defer src.Close()
		defer in.Close()
		out, dst, err := os.Pipe()
		if err != nil {
			return err
		}
		defer out.Close()
		defer dst.Close()
		if _, err := in.WriteString("hello"); err != nil {
			return err
		}
		op := func() error {
			n, err := f(bg, dst, src, 5)
			if err == nil && n != 5 {
				err = fmt.Errorf("moved %d bytes, want 5", n)
			}
			return err
		}
		if fail(op) != nil {
			if err := op(); err != nil {
				return fmt.Errorf("the second try: %w", err)
			}
		}
		buf := make([]byte, 5)
		if _, err := io.ReadFull(out, buf); err != nil || string(buf) != "hello" {
			return fmt.Errorf("afterwards: %q, %v", buf, err)
		}
		return nil
	}
}
