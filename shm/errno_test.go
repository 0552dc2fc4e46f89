package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"
)

// withName plays a round about a name, which is gone when it is over.
func withName(name string, r fuzz.Round) fuzz.Round {
	return func(fail func(func() error) error) error {
		defer shm.Unlink(name)
		return r(fail)
	}
}

// existing is the round of an opener of a name.
func existing[T io.Closer, U io.Closer](name string, create func(string) (T, error), open func(string) (U, error), use func(U) error) fuzz.Round {
	return func(fail func(func() error) error) error {
		first, err := create(name)
		if err != nil {
			return err
		}
		defer shm.Unlink(name)
		defer first.Close()
		return fuzz.Making(func() (U, error) { return open(name) }, use)(fail)
	}
}

// ends are both of a ring.
type ends struct {
	w *shm.RingWriter
	r *shm.RingReader
}

func (e ends) Close() error {
	err := e.w.Close()
	if e := e.r.Close(); err == nil {
		err = e
	}
	return err
}

// placed is a value in a mapping.
type placed struct {
	o *shm.Object
	m *shm.Mapping
	v *shm.Value[[4]int]
}

func place() (p placed, err error) {
	if p.o, err = shm.CreateAnon("errno", 8192, &shm.Attr{Growable: true}); err != nil {
		return p, err
	}
	if p.m, err = p.o.Map(0, 0, shm.ReadWrite); err == nil {
		p.v, err = shm.NewValueAt(p.m, 64, [4]int{})
	}
	return p, err
}

// placeToGrow is behind the times: its object has grown.
func placeToGrow() (placed, error) {
	p, err := place()
	if err == nil {
		err = p.o.Grow(16384)
	}
	return p, err
}

func (p placed) Close() error { return errors.Join(p.v.Close(), p.m.Close(), p.o.Close()) }

// doubled are duplicates of what h passes.
func doubled(h interface{ PassFiles() ([]*os.File, error) }) (files []*os.File, err error) {
	lent, err := h.PassFiles()
	for _, f := range lent {
		fd, e := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if e != nil {
			return nil, e
		}
		files = append(files, os.NewFile(uintptr(fd), f.Name()))
	}
	return files, err
}

// Every system call of every operation that makes some fails: the error says
// which and why, nothing is left behind, and the next try works.
func TestErrnos(t *testing.T) {
	name := fmt.Sprintf("/rawipc-errno-%d", os.Getpid())
	newEnds := func() (ends, error) {
		w, r, err := shm.NewRing(4096)
		return ends{w, r}, err
	}
	ctx := t.Context()
	pass := func(e ends) error {
		if err := e.w.Send(ctx, []byte("seven")); err != nil {
			return err
		}
		buf := make([]byte, 16)
		n, err := e.r.Recv(ctx, buf)
		if err == nil && string(buf[:n]) != "seven" {
			err = fmt.Errorf("received %q", buf[:n])
		}
		return err
	}
	through := func(q *shm.Queue[int]) error {
		if err := q.Send(ctx, 7); err != nil {
			return err
		}
		v, err := q.Recv(ctx)
		if err == nil && v != 7 {
			err = fmt.Errorf("received %d", v)
		}
		return err
	}
	letter := func(q *shm.MessageQueue) error {
		if err := q.Send(ctx, []byte("seven")); err != nil {
			return err
		}
		_, err := q.Recv(ctx, make([]byte, 16))
		return err
	}
	object := func(q *shm.ObjectQueue[string]) error {
		if err := q.Send(ctx, "seven"); err != nil {
			return err
		}
		_, err := q.Recv(ctx)
		return err
	}
	store := func(v *shm.Value[[4]int]) error { return v.Store([4]int{7}) }
	sort := func(a *shm.Array[int]) error { return a.Update(func(xs []int) error { xs[0]++; return nil }) }
	grown := func(o *shm.Object) error {
		m, err := o.Map(0, 8192, shm.ReadWrite)
		if err != nil {
			return err
		}
		_, err = m.WriteAt([]byte("x"), 8000)
		if e := m.Close(); err == nil {
			err = e
		}
		return err
	}
	type obj = *shm.Object
	anon := func() (obj, error) { return shm.CreateAnon("errno", 8192, nil) }
	growable := func() (obj, error) { return shm.CreateAnon("errno", 8192, &shm.Attr{Growable: true}) }
	create := func(n string) (obj, error) { return shm.Create(n, 8192, nil) }
	type row struct {
		name string
		fuzz.Round
		fuzz.Faults
	}
	rows := []row{
		{name: "CreateAnon", Round: fuzz.Making(anon, grown)},
		{name: "Create", Round: withName(name, fuzz.Making(func() (obj, error) { return create(name) }, grown))},
		{name: "Create by a temporary name", Round: withName(name, func(fail func(func() error) error) error {
			defer shm.WithoutUnnamed()()
			return fuzz.Making(func() (obj, error) { return create(name) }, grown)(fail)
		})},
		{name: "Truncate", Round: existing(name, func(n string) (obj, error) {
			o, err := create(n)
			if err == nil {
				err = o.Close() // who has it open keeps it from being truncated
			}
			return o, err
		}, func(n string) (obj, error) { return shm.Create(n, 8192, &shm.Attr{Truncate: true}) }, grown),
			Faults: fuzz.Faults{Also: []error{unix.EBUSY}}}, // what can't be looked at may be another's
		{name: "PassFiles of a place", Round: fuzz.Using(place, func(p placed) error { _, err := p.v.PassFiles(); return err },
			func(p placed) error { return store(p.v) })},
		{name: "TakeFiles of a place", Round: func(fail func(func() error) error) error {
			p, err := place()
			if err != nil {
				return err
			}
			defer p.Close()
			var taken *shm.Value[[4]int]
			take := func(files []*os.File) func() error { // they are its own, whatever comes of it
				return func() error {
					taken = new(shm.Value[[4]int])
					return taken.TakeFiles(files)
				}
			}
			files, err := doubled(p.v)
			if err != nil {
				return err
			}
			if fail(take(files)) != nil {
				if files, err = doubled(p.v); err == nil {
					err = take(files)()
				}
				if err != nil {
					return err
				}
			}
			return errors.Join(store(taken), taken.Close())
		}},
		{name: "Open", Round: existing(name, create, func(n string) (obj, error) { return shm.Open(n, nil) }, grown)},
		{name: "OpenReadOnly", Round: existing(name, create, func(n string) (obj, error) { return shm.OpenReadOnly(n, nil) }, nil)},
		{name: "Map", Round: fuzz.Using(anon, grown, grown), Faults: fuzz.Faults{Spare: []string{"munmap"}}},
		{name: "Grow", Round: fuzz.Using(growable, func(o obj) error { return o.Grow(16384) }, grown)},
		{name: "Remap", Round: fuzz.Using(placeToGrow, func(p placed) error { return p.m.Remap(0) }, func(p placed) error {
			if n, err := p.m.WriteAt([]byte("x"), 16000); n != 1 || err != nil {
				return fmt.Errorf("behind the old end: %w", err)
			}
			return store(p.v)
		}), Faults: fuzz.Faults{Spare: []string{"munmap"}}},
		{name: "FromFile", Round: func(fail func(func() error) error) error {
			o, err := anon()
			if err != nil {
				return err
			}
			defer o.Close()
			return fuzz.Making(func() (obj, error) {
				fd, err := unix.FcntlInt(o.File().Fd(), unix.F_DUPFD_CLOEXEC, 3)
				if err != nil {
					return nil, os.NewSyscallError("fcntl", err)
				}
				f := os.NewFile(uintptr(fd), "taken")
				taken, err := shm.FromFile(f, nil)
				if err != nil {
					f.Close()
				}
				return taken, err
			}, grown)(fail)
		}},
		{name: "NewShared", Round: fuzz.Making(func() (*shm.Shared[int], error) { return shm.New[int](nil) }, nil)},
		{name: "NewValue", Round: fuzz.Making(func() (*shm.Value[[4]int], error) { return shm.NewValue([4]int{}) }, store)},
		{name: "NewArray", Round: fuzz.Making(func() (*shm.Array[int], error) { return shm.NewArray(make([]int, 4)) }, sort)},
		{name: "NewQueue", Round: fuzz.Making(func() (*shm.Queue[int], error) { return shm.NewQueue[int](4) }, through)},
		{name: "NewMessageQueue", Round: fuzz.Making(func() (*shm.MessageQueue, error) { return shm.NewMessageQueue(4096) }, letter)},
		{name: "NewObjectQueue", Round: fuzz.Making(func() (*shm.ObjectQueue[string], error) { return shm.NewObjectQueue[string](4096, "") }, object)},
		{name: "NewRing", Round: fuzz.Making(newEnds, pass)},
		{name: "Value.Store", Round: fuzz.Using(func() (*shm.Value[[4]int], error) { return shm.NewValue([4]int{}) }, store, store)},
		{name: "Array.Update", Round: fuzz.Using(func() (*shm.Array[int], error) { return shm.NewArray(make([]int, 4)) }, sort, sort)},
		{name: "Queue", Round: fuzz.Using(func() (*shm.Queue[int], error) { return shm.NewQueue[int](4) }, through, through)},
		{name: "MessageQueue", Round: fuzz.Using(func() (*shm.MessageQueue, error) { return shm.NewMessageQueue(4096) }, letter, letter)},
		{name: "Ring", Round: fuzz.Using(newEnds, pass, pass)},
		{name: "CreateQueue", Round: withName(name, fuzz.Making(func() (*shm.Queue[int], error) { return shm.CreateQueue[int](name, 4, nil) }, through))},
		{name: "OpenQueue", Round: existing(name, func(n string) (*shm.Queue[int], error) { return shm.CreateQueue[int](n, 4, nil) },
			func(n string) (*shm.Queue[int], error) { return shm.OpenQueue[int](n, nil) }, through)},
		{name: "OpenArray", Round: existing(name, func(n string) (*shm.Array[int], error) { return shm.CreateArray(n, []int{1}, nil) },
			func(n string) (*shm.Array[int], error) { return shm.OpenArray[int](n, nil) }, sort)},
		{name: "Unlink", Round: func(fail func(func() error) error) error {
			o, err := create(name)
			if err != nil {
				return err
			}
			defer o.Close()
			if err := fail(func() error { return shm.Unlink(name) }); err != nil {
				return shm.Unlink(name)
			}
			return nil
		}},
		{name: "Sweep", Round: func(fail func(func() error) error) error {
			fail(func() error { _, err := shm.Sweep(name[1:]); return err })
			_, err := shm.Sweep(name[1:])
			return err
		}},
		{name: "PassFiles", Round: fuzz.Using(func() (*shm.Queue[int], error) { return shm.NewQueue[int](4) }, func(q *shm.Queue[int]) error {
			files, err := q.PassFiles()
			if err == nil && len(files) == 0 {
				err = errors.New("no files")
			}
			return err
		}, through)},
		{name: "Notify", Round: fuzz.Using(func() (*shm.Queue[int], error) { return shm.NewQueue[int](4) }, func(q *shm.Queue[int]) error {
			n, err := q.Notify()
			if err != nil {
				return err
			}
			return n.Close()
		}, through)},
	}
	// Those that block, without a context that may end and with one.
	for suffix, ctx := range map[string]context.Context{"": bg, " with a context": ctx} {
		still := fuzz.Faults{Spare: []string{"futex_wake"}} // or the other end sleeps on
		numbers := func(n int) func() (*shm.Queue[int], error) {
			return func() (*shm.Queue[int], error) {
				q, err := shm.NewQueue[int](1)
				for range n {
					err = errors.Join(err, q.Send(bg, 7))
				}
				return q, err
			}
		}
		send := func(q *shm.Queue[int]) error { return q.Send(ctx, 7) }
		recv := func(q *shm.Queue[int]) error {
			v, err := q.Recv(ctx)
			if err == nil && v != 7 {
				err = fmt.Errorf("received %d", v)
			}
			return err
		}
		long := make([]byte, 3000)
		letters := func(n int) func() (*shm.MessageQueue, error) {
			return func() (*shm.MessageQueue, error) {
				q, err := shm.NewMessageQueue(4096)
				for range n {
					err = errors.Join(err, q.Send(bg, long))
				}
				return q, err
			}
		}
		post := func(q *shm.MessageQueue) error { return q.Send(ctx, long) }
		fetch := func(q *shm.MessageQueue) error { _, err := q.Recv(ctx, make([]byte, 3000)); return err }
		rings := func(n int) func() (ends, error) {
			return func() (ends, error) {
				e, err := newEnds()
				for range n {
					err = errors.Join(err, e.w.Send(bg, long))
				}
				return e, err
			}
		}
		write := func(e ends) error { return e.w.Send(ctx, long) }
		read := func(e ends) error { _, err := e.r.Recv(ctx, make([]byte, 3000)); return err }
		for _, r := range []struct {
			name string
			fuzz.Round
		}{
			{"Queue.Recv", fuzz.Blocking(numbers(0), recv, send, through)},
			{"Queue.Send", fuzz.Blocking(numbers(1), send, recv, recv)},
			{"Queue.Join", fuzz.Blocking(numbers(1), func(q *shm.Queue[int]) error { return q.Join(ctx) },
				func(q *shm.Queue[int]) error { return errors.Join(recv(q), q.Done()) }, through)},
			{"MessageQueue.Recv", fuzz.Blocking(letters(0), fetch, post, letter)},
			{"MessageQueue.Send", fuzz.Blocking(letters(1), post, fetch, fetch)},
			{"RingReader.Recv", fuzz.Blocking(rings(0), read, write, pass)},
			{"RingWriter.Send", fuzz.Blocking(rings(1), write, read, read)},
		} {
			rows = append(rows, row{name: r.name + ", waiting" + suffix, Round: r.Round, Faults: still})
		}
	}
	errnos := []syscall.Errno{unix.EINTR, unix.EXFULL, unix.ENOMEM, unix.ENOSPC, unix.EMFILE, unix.EPERM}
	if testing.Short() {
		errnos = errnos[:2] // one that is told apart, one that is not known
	}
	sites, rounds := 0, 0
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			r.Errnos = errnos
			rep := fuzz.FailEach(t, &r.Faults, r.Round)
			t.Logf("%d system calls, %d rounds, %d without an error", rep.Sites, rep.Rounds, rep.Tolerated)
			sites += rep.Sites
			rounds += rep.Rounds
		})
	}
	t.Logf("%d sites, %d calls refused", sites, rounds)
}
