package shm_test

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// five is a value of several words, all the same.
type five [5]int64

func all(n int64) five { return five{n, n, n, n, n} }

// oneWord returns what all of x's words are.
func oneWord[T five | []int64](x T) (int64, error) {
	xs := []int64{}
	switch x := any(x).(type) {
	case five:
		xs = x[:]
	case []int64:
		xs = x
	}
	for _, n := range xs {
		if n != xs[0] {
			return 0, fmt.Errorf("a mixture: %v", x)
		}
	}
	return xs[0], nil
}

// seat is a mapping of a scenario's segment, from page on, for the objects that
// lie there.
type seat struct {
	once func() *shm.Mapping
	undo []func() error
}

func newSeat(s *fuzz.Segment) *seat {
	st := new(seat)
	st.once = sync.OnceValue(func() *shm.Mapping {
		fd, err := unix.FcntlInt(s.File.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		check(err)
		o, err := shm.FromFile(os.NewFile(uintptr(fd), "segment"), nil)
		check(err)
		m, err := o.Map(0, 0, shm.ReadWrite)
		check(err)
		check(o.Close())
		st.undo = append(st.undo, m.Close)
		return m
	})
	return st
}

func (s *seat) close() (err error) {
	for i := len(s.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, s.undo[i]())
	}
	return err
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// drop closes what a scenario opened, when the round is over.
func (s *seat) drop(close func() error) { s.undo = append(s.undo, close) }

const killPage = 4096

// stage is a Value and an Array in a scenario's segment, as one process has
// them: opened when they are first used.
type stage struct {
	*seat
	v  func() *shm.Value[five]
	n  func() *shm.Value[int64]
	xs func() *shm.Array[int64]
}

const (
	smallAt = 1024
	arrayAt = 2048
)

func newStage(s *fuzz.Segment) *stage {
	st := &stage{seat: newSeat(s)}
	st.v = sync.OnceValue(func() *shm.Value[five] {
		v, err := shm.OpenValueAt[five](st.once(), 0)
		check(err)
		st.drop(v.Close)
		return v
	})
	st.n = sync.OnceValue(func() *shm.Value[int64] {
		v, err := shm.OpenValueAt[int64](st.once(), smallAt)
		check(err)
		st.drop(v.Close)
		return v
	})
	st.xs = sync.OnceValue(func() *shm.Array[int64] {
		a, err := shm.OpenArrayAt[int64](st.once(), arrayAt)
		check(err)
		st.drop(a.Close)
		return a
	})
	return st
}

// first makes what the others open.
func (s *stage) first() error {
	v, err := shm.NewValueAt(s.once(), 0, all(1))
	check(err)
	n, err := shm.NewValueAt(s.once(), smallAt, int64(1))
	check(err)
	a, err := shm.NewArrayAt(s.once(), arrayAt, []int64{1, 1, 1, 1, 1, 1, 1})
	check(err)
	return errors.Join(v.Close(), n.Close(), a.Close())
}

// load is a Load that finds a whole value, one of those that there can be.
func (s *stage) load(may ...int64) error {
	n, err := oneWord(s.v().Load())
	if err != nil {
		return err
	}
	return among(n, may)
}

func among(n int64, may []int64) error {
	for _, m := range may {
		if n == m {
			return nil
		}
	}
	return fmt.Errorf("%d, want one of %d", n, may)
}

func (s *stage) add(d int64) error {
	return s.v().Update(func(x *five) error {
		n, err := oneWord(*x)
		*x = all(n + d)
		return err
	})
}

func (s *stage) addSmall(d int64) error {
	return s.n().Update(func(x *int64) error { *x += d; return nil })
}

func atPoint(name string, run func() error) fuzz.Peer {
	return fuzz.Peer{Name: name, When: fuzz.AtPoint, Run: func(*fuzz.Cue) error { return run() }}
}
