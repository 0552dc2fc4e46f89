package pipe_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// noRoomForFiles receives descriptors with a full table.
func noRoomForFiles() error {
	for _, open := range []func() (a, b *pipe.Conn, err error){pipe.Pair, pipe.PacketPair} {
		s, r, err := open()
		if err != nil {
			return err
		}
		full := func(sends int) error {
			for range sends {
				if err := s.SendFiles(bg, []byte("ab"), os.Stdin, os.Stdin, os.Stdin, os.Stdin); err != nil {
					return err
				}
			}
			return nil
		}
		if err := full(3); err != nil {
			return err
		}
		var lim, low unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			return err
		}
		// Two places are free, for four descriptors.
		var held []int
		fd, err := unix.Dup(0)
		for ; err == nil && fd < 100; fd, err = unix.Dup(0) {
			held = append(held, fd)
		}
		if err != nil {
			return err
		}
		unix.Close(fd)
		low = unix.Rlimit{Cur: uint64(fd), Max: lim.Max}
		unix.Close(held[len(held)-1])
		unix.Close(held[len(held)-2])
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			return err
		}
		buf := make([]byte, 9)
		n, files, err := r.RecvFiles(bg, buf, 9)
		if n != 2 || files != nil || !errors.Is(err, pipe.ErrFiles) || !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
			return fmt.Errorf("full table: %d, %v, %w", n, files, err)
		}
		if n, err := r.Recv(bg, buf); n != 2 || err != nil { // it wants none
			return fmt.Errorf("Recv with a full table: %d, %w", n, err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			return err
		}
		n, files, err = r.RecvFiles(bg, buf, 9)
		if n != 2 || len(files) != 4 || err != nil {
			return fmt.Errorf("with room again: %d, %v, %w", n, files, err)
		}
		closeFiles(files)
		for _, fd := range held[:len(held)-2] {
			unix.Close(fd)
		}
		s.Close()
		r.Close()
	}
	return nil
}

func TestCase178_NoRoomForFiles(t *testing.T) {
	if out, err := helper(t, "no-room-for-files").Output(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

// manyInFlight runs as a user without rights, whom the limit binds.
func manyInFlight() error {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		return err
	}
	if err := syscall.Setgid(65534); err != nil {
		return err
	}
	if err := syscall.Setuid(65534); err != nil {
		return err
	}
	s, r, err := pipe.Pair()
	if err != nil {
		return err
	}
	ten := make([]*os.File, 10)
	for i := range ten {
		ten[i] = os.Stdin
	}
	for round := range 3 {
		sent := 0
		for err = nil; err == nil && sent < 20; sent++ {
			err = s.SendFiles(bg, []byte("x"), ten...)
		}
		sent--
		if !errors.Is(err, unix.ETOOMANYREFS) || !strings.Contains(err.Error(), "RLIMIT_NOFILE") || sent < 6 {
			return fmt.Errorf("round %d, after %d messages: %w", round, sent, err)
		}
		for range sent {
			_, files, err := r.RecvFiles(bg, make([]byte, 1), 10)
			if err != nil || len(files) != 10 {
				return fmt.Errorf("round %d: %d files, %w", round, len(files), err)
			}
			closeFiles(files)
		}
	}
	return nil
}

func TestCase179_TooManyInFlight(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs another user to become")
	}
	if out, err := helper(t, "many-in-flight").Output(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

func TestCase180_ReceiverRefusesFiles(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		err := unix.SetsockoptInt(rawFD(t, r), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
		if errors.Is(err, unix.ENOPROTOOPT) {
			t.Skip("the kernel has no SO_PASSRIGHTS: Linux 6.16")
		}
		must(t, err)
		err = s.SendFiles(bg, []byte("x"), os.Stdin)
		wantErr(t, "SendFiles", err, unix.EPERM)
		if !strings.Contains(err.Error(), "SO_PASSRIGHTS") {
			t.Error(err)
		}
		must(t, s.Send(bg, []byte("y")))
		if got, err := r.RecvAlloc(bg, 9); err != nil || string(got) != "y" {
			t.Errorf("%q, %v", got, err)
		}
	}, "Pair", "PacketPair")
}

// Sockets that travel through themselves keep each other alive; the kernel's
// collector must find them all once they are closed.
func TestCase181_SocketThroughItself(t *testing.T) {
	inodes := map[string]bool{}
	for range rounds(1000) {
		s, r, err := pipe.Pair()
		must(t, err)
		var fs [2]*os.File
		for i, c := range []*pipe.Conn{s, r} {
			fd, err := unix.FcntlInt(uintptr(rawFD(t, c)), unix.F_DUPFD_CLOEXEC, 3)
			must(t, err)
			fs[i] = os.NewFile(uintptr(fd), "")
			var st unix.Stat_t
			must(t, unix.Fstat(fd, &st))
			inodes[fmt.Sprint(st.Ino)] = true
		}
		for range 10 {
			must(t, s.SendFiles(bg, []byte("x"), fs[0], fs[1]))
		}
		closeFiles(fs[:])
		must(t, s.Close())
		must(t, r.Close())
	}
	left := func() (n int) {
		b, err := os.ReadFile("/proc/net/unix")
		must(t, err)
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 6 && inodes[f[6]] {
				n++
			}
		}
		return n
	}
	within(t, "the collector", func() {
		for left() > 0 {
			s, r, err := pipe.Pair() // closing a local socket starts it
			must(t, err)
			must(t, s.SendFiles(bg, nil, os.Stdin))
			s.Close()
			r.Close()
			blocked()
		}
	})
}

// Nothing a process receives stays open in it, whatever it does with it.
func TestFilesLeaveNothing(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		files := tagged(t, 0, 5)
		defer closeFiles(files)
		before := filesOpen(t)
		buf := make([]byte, 10)
		for i := range rounds(1000) {
			must(t, s.SendFiles(bg, []byte("0123456789"), files[:i%6]...))
			var got []*os.File
			var err error
			switch i % 5 {
			case 0:
				_, err = r.Recv(bg, buf)
			case 1:
				_, err = r.RecvAlloc(bg, 10)
			case 2:
				if _, err = r.Read(buf[:6]); err == nil {
					_, err = r.Read(buf)
				}
			case 3:
				_, got, err = r.RecvFiles(bg, buf, 5)
			case 4:
				if _, got, err = r.RecvFiles(bg, buf, 2); errors.Is(err, pipe.ErrFiles) {
					err = nil
				}
			}
			must(t, err)
			closeFiles(got)
		}
		if n := filesOpen(t); n > before {
			t.Errorf("%d descriptors, before %d", n, before)
		}
	}, "Pair", "PacketPair")
}
