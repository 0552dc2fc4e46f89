package pipe_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// inherited is what a helper makes of descriptor 3.
func inherited() (*pipe.Conn, error) {
	c := new(pipe.Conn)
	return c, c.TakeFiles([]*os.File{os.NewFile(3, "inherited")})
}

// helpers are what this binary does as a child of one of its tests.
var helpers = map[string]func() error{
	"echo":            echo,
	"die-in-frame":    dieInFrame,
	"receive":         receive,
	"few-descriptors": fewDescriptors,

	"no-room-for-files": noRoomForFiles,
	"many-in-flight":    manyInFlight,
	"dialer":            dialer,
	"pipes-shrink":      pipesShrink,
	"stranger":          stranger,
}

func echo() error {
	c, err := inherited()
	if err != nil {
		return err
	}
	for {
		msg, err := c.RecvAlloc(bg, 1<<24)
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := c.Send(bg, msg); err != nil {
			return err
		}
	}
}

// dieInFrame sends one message, then 100 bytes of one of a million, and kills
// itself.
func dieInFrame() error {
	c, err := inherited()
	if err != nil {
		return err
	}
	if err := c.Send(bg, []byte("whole")); err != nil {
		return err
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	rc.Control(func(fd uintptr) {
		unix.Write(int(fd), append(binary.LittleEndian.AppendUint64(nil, 1_000_000), make([]byte, 100)...))
	})
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

// receive goes on until it is killed; the parent is told of each message.
func receive() error {
	c, err := inherited()
	if err != nil {
		return err
	}
	for {
		msg, err := c.RecvAlloc(bg, 1<<24)
		if err != nil {
			return err
		}
		fmt.Println(len(msg))
	}
}

// fewDescriptors runs into the limit with each constructor: with room for none,
// one, and two descriptors.
func fewDescriptors() error {
	waiting, _, err := pipe.Pair() // and the runtime opens its own
	if err != nil {
		return err
	}
	// The limit is on the number, so there must be no holes below it.
	isOpen := func(fd int) bool {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		return err == nil
	}
	top := 0
	for fd := range 1000 {
		if isOpen(fd) {
			top = fd
		}
	}
	for fd := range top {
		if !isOpen(fd) {
			if _, err := unix.Dup(0); err != nil {
				return err
			}
		}
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	for room := range 3 {
		for _, k := range kinds {
			lim.Cur = uint64(top + 1 + room)
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
				return err
			}
			a, b, err := k.open()
			if room < 2 && !errors.Is(err, unix.EMFILE) || room == 2 && err != nil {
				return fmt.Errorf("%s with room for %d: %v", k.name, room, err)
			}
			if err == nil {
				a.Close()
				b.Close()
			}
			for fd := range 1000 {
				if isOpen(fd) != (fd <= top) {
					return fmt.Errorf("%s with room for %d: descriptor %d open: %v", k.name, room, fd, isOpen(fd))
				}
			}
		}
	}
	// Who has a Conn can wait without room for another descriptor.
	lim.Cur = uint64(top + 1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(bg)
	go func() {
		unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil) // no timer: that would open the poller
		cancel()
	}()
	if _, err := waiting.Recv(ctx, make([]byte, 8)); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("a wait without room for a descriptor: %v, want %v", err, context.Canceled)
	}
	return nil
}

func TestCase158_DescriptorLimit(t *testing.T) {
	cmd := helper(t, "few-descriptors")
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

func TestKilledInFrame(t *testing.T) {
	for _, k := range []string{"Pair", "OneWay"} {
		for _, unread := range []bool{false, true} {
			if unread && k == "OneWay" {
				continue
			}
			t.Run(fmt.Sprintf("%s/unread=%v", k, unread), func(t *testing.T) {
				before := fdCount(t)
				w, r, err := kinds[0].open()
				if k == "OneWay" {
					must(t, w.Close())
					must(t, r.Close())
					r, w, err = pipe.OneWay()
				}
				must(t, err)
				files, err := w.PassFiles()
				must(t, err)
				cmd := helper(t, "die-in-frame", files...)
				if unread { // then the kernel says ECONNRESET
					must(t, r.Send(bg, []byte("never read")))
				}
				must(t, cmd.Start())
				must(t, w.Close())
				var got []byte
				within(t, "Recv", func() { got, err = r.RecvAlloc(bg, 1<<20) })
				if err != nil || string(got) != "whole" {
					t.Fatalf("%q, %v", got, err)
				}
				for range 2 {
					within(t, "Recv", func() { _, err = r.RecvAlloc(bg, 1<<20) })
					wantErr(t, "half a frame", err, io.ErrUnexpectedEOF)
				}
				must(t, r.Close())
				cmd.Wait()
				if n := fdCount(t); n > before {
					t.Errorf("%d descriptors, before %d", n, before)
				}
			})
		}
	}
}

// A receiver killed with a message in hand costs that message and what it had
// read ahead, and the sender gets an error. With packets another receiver goes
// on.
func TestKilledReceiver(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		files, err := r.PassFiles()
		must(t, err)
		cmd := helper(t, "receive", files...)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		packets := t.Name() == "TestKilledReceiver/PacketPair"
		if !packets {
			must(t, r.Close())
		}
		must(t, s.Send(bg, make([]byte, 1000)))
		within(t, "first message", func() { _, err = out.Read(make([]byte, 10)) })
		must(t, err)
		must(t, cmd.Process.Kill())
		cmd.Wait()
		if packets {
			must(t, s.Send(bg, []byte("next")))
			got, err := r.RecvAlloc(bg, 9)
			if err != nil || string(got) != "next" {
				t.Errorf("%q, %v", got, err)
			}
			return
		}
		wantErr(t, "Send", s.Send(bg, make([]byte, 100_000)), unix.EPIPE)
	})
}
