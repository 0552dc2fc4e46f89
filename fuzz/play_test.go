package fuzz_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// Model-based fuzzing: a script of operations is played on a real object by two
// members, both in this process or one of them in a helper's, and on a plain Go
// model. What an operation returns, as text, must be what the model says.

// A role is one member's side of an object. late says that the model wants the
// operation to wait in vain: it is called with a context that has ended.
type role interface {
	do(op byte, arg uint16, late bool) string
	Close() error
}

// A play is a kind of object.
type play struct {
	name string
	// cast makes an object, plays one member of it, and lends what makes another
	// one: those descriptors are end's to close.
	cast func(size byte) (near role, lent []*os.File, end func(), err error)
	far  func(files []*os.File) (role, error) // it owns the files
	// model makes a model, which says what an operation returns, "" for one that
	// must not be tried now, and whether it would wait.
	model func(size byte, apart bool) func(far bool, op byte, arg uint16) (want string, late bool)
}

// playAll makes each of the plays a target's: the first byte of a script is the
// play, the second the object's size and, in the top bit, whether the other
// member is another process. Then three bytes an operation: which, by whom in
// the top bit, and its argument.
func playAll(f *testing.F, plays []play) {
	for i := range plays {
		for _, apart := range []byte{0, 0x80} {
			for k := range byte(6) {
				script := []byte{byte(i), 5*k | apart}
				for n := range 40 * (k + 1) {
					script = append(script, n*n*(k+1)+n>>3, n*37, n%3)
				}
				f.Add(script)
			}
		}
	}
	var troupe *player
	f.Cleanup(func() { troupe.end(f) })
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 2 || len(script) > 2+3*600 {
			return
		}
		p, size, apart := plays[int(script[0])%len(plays)], script[1]&0x7f, script[1]&0x80 != 0
		near, files, end, err := p.cast(size)
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		defer closed(t, near)
		var far role
		if apart {
			if troupe == nil {
				troupe = hire(t)
			}
			far, err = troupe.open(p.name, files)
		} else {
			far, err = p.far(dup(t, files))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, far)
		model := p.model(size, apart)
		var history strings.Builder
		for s := script[2:]; len(s) >= 3; s = s[3:] {
			op, arg, other := s[0]&0x7f, binary.LittleEndian.Uint16(s[1:]), s[0]&0x80 != 0
			want, late := model(other, op, arg)
			if want == "" {
				continue
			}
			who := near
			if other {
				who = far
			}
			got := who.do(op, arg, late)
			fmt.Fprintf(&history, "other %v, op %d, arg %d: %s\n", other, op, arg, got)
			if got != want {
				t.Fatalf("%s of size %d, two processes %v:\n%swant %s", p.name, size, apart, &history, want)
			}
		}
	})
}

func closed(t *testing.T, r role) {
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func dup(t *testing.T, files []*os.File) []*os.File {
	t.Helper()
	copies := make([]*os.File, len(files))
	for i, f := range files {
		rc, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		fd := -1
		if cerr := rc.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil || err != nil {
			t.Fatal(cerr, err)
		}
		copies[i] = os.NewFile(uintptr(fd), f.Name())
	}
	return copies
}

// over has ended, ample has not, as far as a test is concerned.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func in(late bool) (context.Context, context.CancelFunc) {
	if late {
		return over, func() {}
	}
	return context.WithTimeout(context.Background(), 20*time.Second)
}

// said is what an operation returned: values, and the error by its kind.
func said(err error, values ...any) string {
	s := fmt.Sprintln(values...)
	if err == nil {
		return s + "ok"
	}
	for _, k := range []struct {
		is   error
		name string
	}{{context.Canceled, "canceled"}, {io.EOF, "EOF"}, {os.ErrClosed, "closed"}, {shm.ErrTooLarge, "too large"}, {pipe.ErrTooLarge, "too large"},
		{shm.ErrShortBuffer, "short"}, {pipe.ErrShortBuffer, "short"}, {futex.ErrOwnerDead, "owner dead"}, {futex.ErrBroken, "broken"},
		{unix.EOVERFLOW, "overflow"}, {unix.EPERM, "not owner"}, {unix.EINVAL, "invalid"}, {unix.EMSGSIZE, "message size"}, {errPlanned, "planned"}} {
		if errors.Is(err, k.is) {
			return s + k.name
		}
	}
	return s + err.Error()
}

func ok(values ...any) string                 { return said(nil, values...) }
func fails(kind string, values ...any) string { return fmt.Sprintln(values...) + kind }

var errPlanned = errors.New("planned")

// fill makes the bytes of a message, sum is how they are compared.
func fill(n int, seed uint16) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(seed>>(8*(i&1))) + byte(i)
	}
	return b
}

func sum(b []byte) string { return fmt.Sprintf("%d:%x", len(b), crc32.ChecksumIEEE(b)) }

// A player is a helper process that plays the other members, one at a time.
type player struct {
	proc *proc.Process
	conn *pipe.Conn
}

// allPlays is set by the files that have them.
func allPlays() []play {
	var all []play
	for _, p := range [][]play{valuePlays, ringPlays, queuePlays, lockPlays, connPlays, mqPlays} {
		all = append(all, p...)
	}
	return all
}

// playing is the helper. A request is a letter and what belongs to it: o, a
// play's name, with descriptors; d, an operation; c.
var playing = proc.Register("fuzz_test/playing", func(ctx context.Context, c *pipe.Conn) error {
	buf := make([]byte, 256)
	var r role
	for {
		n, files, err := c.RecvFiles(ctx, buf, 8)
		if err != nil || n == 0 {
			return nil // the end
		}
		answer := "ok"
		switch buf[0] {
		case 'o':
			for _, p := range allPlays() {
				if p.name == string(buf[1:n]) {
					r, err = p.far(files)
				}
			}
		case 'd':
			answer = r.do(buf[1], binary.LittleEndian.Uint16(buf[2:]), buf[4] != 0)
		case 'c':
			err = r.Close()
		}
		if err != nil {
			answer = "failed: " + err.Error()
		}
		if err := c.Send(ctx, []byte(answer)); err != nil {
			return err
		}
	}
})

func hire(t *testing.T) *player {
	a, b, err := pipe.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, err := playing.Start(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	return &player{p, a}
}

func (p *player) end(t testing.TB) {
	if p == nil {
		return
	}
	p.conn.Close()
	ctx, cancel := in(false)
	defer cancel()
	if _, err := p.proc.Wait(ctx); err != nil {
		t.Errorf("the other member: %v", err)
		p.proc.Kill()
	}
	p.proc.Release()
}

func (p *player) ask(msg []byte, files ...*os.File) (string, error) {
	ctx, cancel := in(false)
	defer cancel()
	err := p.conn.SendFiles(ctx, msg, files...)
	if err != nil {
		return "", err
	}
	answer, err := p.conn.RecvAlloc(ctx, 1<<16)
	if err == nil && strings.HasPrefix(string(answer), "failed: ") {
		err = errors.New(string(answer))
	}
	return string(answer), err
}

func (p *player) open(name string, files []*os.File) (role, error) {
	_, err := p.ask(append([]byte{'o'}, name...), files...)
	return p, err
}

func (p *player) do(op byte, arg uint16, late bool) string {
	msg := []byte{'d', op, byte(arg), byte(arg >> 8), 0}
	if late {
		msg[4] = 1
	}
	answer, err := p.ask(msg)
	if err != nil {
		return err.Error()
	}
	return answer
}

func (p *player) Close() error {
	_, err := p.ask([]byte{'c'})
	return err
}
