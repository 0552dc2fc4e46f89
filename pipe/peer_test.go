package pipe_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// dialer is a child that connects, says so, and waits for the end.
func dialer() error {
	c, err := pipe.Dial(bg, os.Getenv("NETWORK"), os.Getenv("NAME"))
	if err != nil {
		return err
	}
	if err := c.Send(bg, []byte("hello")); err != nil {
		return err
	}
	_, err = c.RecvAlloc(bg, 9)
	if err == io.EOF || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return err
}

func TestCase183_Peer(t *testing.T) {
	listeners(t, func(t *testing.T, l *pipe.Listener, network, name string) {
		cmd := helper(t, "dialer")
		cmd.Env = append(cmd.Env, "NETWORK="+network, "NAME="+name)
		must(t, cmd.Start())
		c, err := l.AcceptConn(bg)
		must(t, err)
		defer c.Close()
		p, err := c.Peer()
		if want := (pipe.Peer{Pid: cmd.Process.Pid, Uid: os.Geteuid(), Gid: os.Getegid()}); p != want || err != nil {
			t.Errorf("%v, %v, want %v", p, err, want)
		}
		pidfd, err := c.PeerFile()
		if errors.Is(err, unix.ENOPROTOOPT) {
			cmd.Process.Kill()
			cmd.Wait()
			t.Skip(err)
		}
		must(t, err)
		defer pidfd.Close()
		if fl, err := unix.FcntlInt(uintptr(rawFD(t, pidfd)), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
			t.Errorf("F_GETFD: %#x, %v", fl, err)
		}
		if fuzz.Without("pidfd_send_signal") {
			cmd.Process.Kill()
			cmd.Wait()
			return
		}
		must(t, unix.PidfdSendSignal(rawFD(t, pidfd), unix.SIGKILL, nil, 0))
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal() != unix.SIGKILL {
			t.Errorf("the peer ended with %v", cmd.ProcessState)
		}
		// The PID may be anybody's now; the pidfd isn't.
		wantErr(t, "signal", unix.PidfdSendSignal(rawFD(t, pidfd), 0, nil, 0), unix.ESRCH)
	})
	s, r, err := pipe.Pair()
	must(t, err)
	closeAfter(t, s, r)
	if p, err := s.Peer(); p.Pid != os.Getpid() || err != nil {
		t.Error(p, err)
	}
	r, w, err := pipe.OneWay()
	must(t, err)
	closeAfter(t, r, w)
	_, err = r.Peer()
	wantErr(t, "pipe", err, unix.EOPNOTSUPP)
}

// stranger connects as another user and says something.
func stranger() error {
	if err := unix.Setuid(65534); err != nil {
		return err
	}
	return dialer()
}

func TestCase269_Strangers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs another user to become")
	}
	listeners(t, func(t *testing.T, l *pipe.Listener, network, name string) {
		if name[0] != '@' {
			dir, err := os.MkdirTemp("/tmp", "rawipc-test")
			must(t, err)
			defer os.RemoveAll(dir)
			must(t, os.Chmod(dir, 0o755))
			l.Close()
			name = filepath.Join(dir, "s")
			l, err = pipe.Listen(network, name)
			must(t, err)
			defer l.Close()
			cmd := helper(t, "stranger")
			cmd.Env = append(cmd.Env, "NETWORK="+network, "NAME="+name)
			cmd.Stderr = nil
			if out, err := cmd.Output(); err == nil { // by the socket's mode
				t.Errorf("a stranger could connect: %s", out)
			}
			must(t, os.Chmod(name, 0o666))
		}
		before := fdCount(t)
		strange := helper(t, "stranger")
		strange.Env = append(strange.Env, "NETWORK="+network, "NAME="+name)
		strange.Stderr = nil
		ctx, cancel := context.WithCancel(bg)
		accepted := make(chan bool)
		go func() {
			c, _ := l.AcceptConn(ctx)
			if c != nil {
				c.Close()
			}
			accepted <- c != nil
		}()
		strange.Run() // cut off, perhaps before it could speak
		cancel()
		if <-accepted {
			t.Error("a stranger was let in")
		}
		if n := fdCount(t); n > before {
			t.Errorf("%d descriptors, before %d", n, before)
		}
		var asked []pipe.Peer
		l.Allow(func(p pipe.Peer) bool { asked = append(asked, p); return p.Uid == 65534 })
		me, err := pipe.Dial(bg, network, name)
		must(t, err)
		defer me.Close()
		strange = helper(t, "stranger")
		strange.Env = append(strange.Env, "NETWORK="+network, "NAME="+name)
		must(t, strange.Start())
		var c *pipe.Conn
		within(t, "AcceptConn", func() { c, err = l.AcceptConn(bg) })
		must(t, err)
		if len(asked) != 2 || asked[0].Pid != os.Getpid() || asked[1].Uid != 65534 {
			t.Errorf("asked about %v", asked)
		}
		if got, err := c.RecvAlloc(bg, 9); string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		c.Close()
		must(t, strange.Wait())
		l.Allow(nil)
		connect(t, l)
	})
}
