package shm_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// What is killed here, at every instruction of this package and of futex: each
// operation of a Value and an Array, and the making of both. Whoever comes
// after finds the old value or the new one, and can go on.

// killing says how: without $RAWIPC_KILLPOINTS at a few points of each cast.
func killing() *fuzz.Options {
	o := &fuzz.Options{Patience: 400 * time.Millisecond, MaxFailures: 3, Packages: []string{
		"github.com/rawipc/rawipc/shm", "github.com/rawipc/rawipc/futex",
	}}
	if ordinary() {
		o.Points = "4"
	}
	return o
}

// ordinary says that this is a run of all tests, which takes one cast of each
// operation: the one with the most company.
func ordinary() bool { return os.Getenv("RAWIPC_KILLPOINTS") == "" }

func some(casts []fuzz.Cast) []fuzz.Cast {
	if ordinary() {
		return casts[len(casts)-1:]
	}
	return casts
}

func killEach(t *testing.T, scenarios ...*fuzz.Scenario) {
	t.Helper()
	plainBuild(t)
	for _, sc := range scenarios {
		fuzz.KillEach(t, sc, killing())
	}
}

// plainBuild skips in a build for the race detector, whose instructions are not
// those that users run.
func plainBuild(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("kill points are those of the build without -race")
	}
}

func TestKillPointsValue(t *testing.T) { killEach(t, killStore, killSwap, killUpdate) }
func TestKillPointsSmall(t *testing.T) {
	killEach(t, killSmallStore, killSmallUpdate, killAdd)
}
func TestKillPointsArray(t *testing.T) { killEach(t, killArrayUpdate, killArrayStore, killRecover) }
func TestKillPointsCreate(t *testing.T) {
	plainBuild(t)
	o := killing()
	// futex has kill points of Attach itself. Here a point takes a quarter of a
	// second, for all that is stepped through between.
	o.Packages = o.Packages[:1]
	made := []*fuzz.Scenario{killCreateValue, killOpen}
	switch os.Getenv("RAWIPC_KILLPOINTS") {
	case "":
	case "tenth":
		o.Points = "16"
		fallthrough
	default:
		made = append(made, killNew, killCreateArray, killNewAt)
	}
	for _, sc := range made {
		fuzz.KillEach(t, sc, o)
	}
}

// A reader that stands still at any instruction, while others write, gets a
// whole value in the end; a writer that does stops no reader.
func TestKillPointsPause(t *testing.T) {
	plainBuild(t)
	for _, sc := range []*fuzz.Scenario{pauseLoad, pauseSmallLoad} {
		fuzz.PauseEach(t, sc, killing())
	}
	o := killing()
	o.Progress = true
	fuzz.PauseEach(t, pauseStore, o)
}

// Broken variants are found.
func TestKillPointsCatchValue(t *testing.T) {
	plainBuild(t)
	o := killing()
	o.Points, o.ReportOnly, o.MaxFailures = "all", true, 1
	if rep := fuzz.PauseEach(t, pauseUnchecked, o); rep.Corrupt == 0 {
		t.Error("a Load that does not check was not found")
	}
	if rep := fuzz.KillEach(t, killInPlace, o); rep.Corrupt == 0 {
		t.Error("a Store into the copy in use was not found")
	}
}

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

// valueOp registers an operation on the value, which is 1 before it and 2 after
// it. A rival adds 10, a reader reads.
func valueOp(name string, do func(s *stage) error) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/"+name, killPage, func(seg *fuzz.Segment) fuzz.Op {
		s := newStage(seg)
		rival := atPoint("rival", func() error { return s.add(10) })
		reader := atPoint("reader", func() error { return s.load(1, 2, 11, 12) })
		casts := some([]fuzz.Cast{
			{Name: "nobody"},
			{Name: "reader", Peers: []fuzz.Peer{reader}},
			{Name: "rival", Peers: []fuzz.Peer{rival}},
			{Name: "rival and reader", Peers: []fuzz.Peer{rival, reader}},
		})
		if strings.HasPrefix(name, "mutant") {
			casts = casts[:1] // one is enough to find it
		}
		return fuzz.Op{
			Init:    s.first,
			Prepare: func() error { s.v(); return s.v().Update(func(*five) error { return nil }) },
			Do:      func() error { return do(s) },
			Check: func(died bool) error {
				may := []int64{2, 12}
				if died {
					may = append(may, 1, 11)
				}
				if err := s.load(may...); err != nil {
					return err
				}
				if err := s.v().Store(all(5)); err != nil {
					return err
				}
				if err := s.add(1); err != nil {
					return err
				}
				return s.load(6)
			},
			Close: s.close,
			Casts: casts,
		}
	})
}

var (
	killStore = valueOp("store", func(s *stage) error { return s.v().Store(all(2)) })
	killSwap  = valueOp("swap", func(s *stage) error {
		old, err := s.v().Swap(all(2))
		if err != nil {
			return err
		}
		n, err := oneWord(old)
		return errors.Join(err, among(n, []int64{1, 11}))
	})
	killUpdate  = valueOp("update", func(s *stage) error { return s.add(1) })
	killInPlace = valueOp("mutant: store in place", func(s *stage) error { return s.v().StoreInPlace(all(2)) })
)

// smallOp is valueOp for a value of one word.
func smallOp(name string, do func(s *stage) error) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/"+name, killPage, func(seg *fuzz.Segment) fuzz.Op {
		s := newStage(seg)
		load := func(may ...int64) error { return among(s.n().Load(), may) }
		adder := atPoint("adder", func() error { _, err := shm.Add(s.n(), 10); return err })
		updater := atPoint("updater", func() error { return s.addSmall(10) })
		reader := atPoint("reader", func() error { return load(1, 2, 11, 12) })
		return fuzz.Op{
			Init:    s.first,
			Prepare: func() error { return s.addSmall(0) },
			Do:      func() error { return do(s) },
			Check: func(died bool) error {
				may := []int64{2, 12}
				if died {
					may = append(may, 1, 11)
				}
				if err := load(may...); err != nil {
					return err
				}
				if err := errors.Join(s.n().Store(5), s.addSmall(1)); err != nil {
					return err
				}
				return load(6)
			},
			Close: s.close,
			Casts: some([]fuzz.Cast{
				{Name: "nobody"},
				{Name: "updater", Peers: []fuzz.Peer{updater}},
				{Name: "adder and reader", Peers: []fuzz.Peer{adder, reader}},
			}),
		}
	})
}

var (
	killSmallStore  = smallOp("small store", func(s *stage) error { return s.n().Store(2) })
	killSmallUpdate = smallOp("small update", func(s *stage) error { return s.addSmall(1) })
	killAdd         = smallOp("add", func(s *stage) error { _, err := shm.Add(s.n(), 1); return err })
)

// The operations of an Array: all elements are the same, or the one that was
// not is known to be broken.
func (s *stage) addAll(d int64) error {
	return s.xs().Update(func(xs []int64) error {
		if _, err := oneWord(xs); err != nil {
			return err
		}
		for i := range xs {
			xs[i] += d
		}
		return nil
	})
}

// mend is addAll that repairs the array first if it has to.
func (s *stage) mend(d int64) error {
	err := s.addAll(d)
	if !errors.Is(err, futex.ErrOwnerDead) {
		return err
	}
	if err := s.xs().Recover(repair); err != nil {
		return err
	}
	return s.addAll(d)
}

func repair(xs []int64) error {
	for i := range xs {
		xs[i] = 7
	}
	return nil
}

func arrayOp(name string, init, do func(s *stage) error, after func(s *stage, died bool) error) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/"+name, killPage, func(seg *fuzz.Segment) fuzz.Op {
		s := newStage(seg)
		rival := atPoint("rival", func() error { return s.mend(10) })
		return fuzz.Op{
			Init: func() error { return errors.Join(s.first(), init(s)) },
			Prepare: func() error {
				s.xs()
				return s.addSmall(0) // the guardian has begun
			},
			Do: func() error { return do(s) },
			Check: func(died bool) error {
				if err := after(s, died); err != nil {
					return err
				}
				if err := s.mend(1); err != nil {
					return err
				}
				x, err := s.xs().Load(3)
				if err != nil {
					return err
				}
				return errors.Join(s.xs().Store(3, x+1), s.xs().Store(3, x))
			},
			Close: s.close,
			Casts: some([]fuzz.Cast{{Name: "nobody"}, {Name: "rival", Peers: []fuzz.Peer{rival}}}),
		}
	})
}

func noChange(*stage) error { return nil }

var (
	killArrayUpdate = arrayOp("array update", noChange,
		func(s *stage) error { return s.addAll(1) },
		func(s *stage, died bool) error {
			if err := s.addAll(0); died && errors.Is(err, futex.ErrOwnerDead) {
				return nil
			} else if err != nil {
				return err
			}
			x, err := s.xs().Load(0)
			if may := []int64{2, 12}; !died {
				return errors.Join(err, among(x, may))
			}
			// 17: the rival repaired what the victim left.
			return errors.Join(err, among(x, []int64{1, 2, 11, 12, 17}))
		})
	// Stores of one element leave nothing to repair.
	killArrayStore = arrayOp("array store", noChange,
		func(s *stage) error { return s.xs().Store(0, 1) },
		func(s *stage, died bool) error {
			return s.xs().Update(func(xs []int64) error { xs[0] = xs[1]; return nil })
		})
	killRecover = arrayOp("array recover",
		func(s *stage) error {
			defer func() { recover() }()
			return s.xs().Update(func(xs []int64) error { xs[0] = 99; panic("half") })
		},
		func(s *stage) error { return s.xs().Recover(repair) },
		func(s *stage, died bool) error {
			switch err := s.addAll(0); {
			case err == nil:
				x, err := s.xs().Load(0)
				return errors.Join(err, among(x, []int64{7, 17}))
			case died && errors.Is(err, futex.ErrOwnerDead):
				return nil
			default:
				return err
			}
		})
)

// makeOp registers the making of an object. The name, if it has one, stands in
// the segment.
func makeOp(name string, do func(s *seat, object string) error, after func(s *seat, object string, died bool) error) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/"+name, killPage, func(seg *fuzz.Segment) fuzz.Op {
		s := newSeat(seg)
		object := func() string { return string(seg.Mem[killPage-32:][:20]) }
		return fuzz.Op{
			Init: func() error {
				copy(seg.Mem[killPage-32:], "rawipc-kill-"+rand.Text()[:8])
				if name == "open value" {
					return do(s, object())
				}
				return nil
			},
			// What is done once for a type or a process is done.
			Prepare: func() error {
				name := "rawipc-kill-" + rand.Text()
				err := do(s, name)
				if uerr := shm.Unlink(name); !errors.Is(uerr, fs.ErrNotExist) {
					err = errors.Join(err, uerr)
				}
				return errors.Join(err, forget(s))
			},
			Do:    func() error { return do(s, object()) },
			Check: func(died bool) error { return after(s, object(), died) },
			Close: s.close,
		}
	})
}

// forget makes the mapping of an object that was made there as new.
func forget(s *seat) error {
	copy(s.once().Bytes(), make([]byte, 1024))
	return nil
}

var (
	killNew = makeOp("new value",
		func(*seat, string) error {
			v, err := shm.NewValue(all(1))
			if err != nil {
				return err
			}
			return v.Close()
		},
		func(*seat, string, bool) error {
			v, err := shm.NewValue(all(1))
			if err != nil {
				return err
			}
			return v.Close()
		})
	killCreateValue = makeOp("create value",
		func(_ *seat, name string) error {
			v, err := shm.CreateValue(name, all(1), nil)
			if err != nil {
				return err
			}
			return errors.Join(v.Store(all(2)), v.Close())
		},
		func(_ *seat, name string, died bool) error {
			v, err := shm.OpenValue[five](name, nil)
			if died && errors.Is(err, fs.ErrNotExist) {
				v, err = shm.CreateValue(name, all(1), nil)
			}
			if err != nil {
				return err
			}
			n, err := oneWord(v.Load())
			return errors.Join(err, among(n, []int64{1, 2}), v.Store(all(3)), v.Close(), shm.Unlink(name))
		})
	killCreateArray = makeOp("create array",
		func(_ *seat, name string) error {
			v, err := shm.CreateArray(name, []int64{1, 1}, nil)
			if err != nil {
				return err
			}
			return v.Close()
		},
		func(_ *seat, name string, died bool) error {
			v, err := shm.OpenArray[int64](name, nil)
			if died && errors.Is(err, fs.ErrNotExist) {
				v, err = shm.CreateArray(name, []int64{1, 1}, nil)
			}
			if err != nil {
				return err
			}
			return errors.Join(v.Update(func(xs []int64) error {
				_, err := oneWord(xs)
				return err
			}), v.Close(), shm.Unlink(name))
		})
	killOpen = makeOp("open value",
		func(_ *seat, name string) error {
			v, err := shm.CreateValue(name, all(1), nil)
			if errors.Is(err, fs.ErrExist) {
				v, err = shm.OpenValue[five](name, nil)
			}
			if err != nil {
				return err
			}
			return errors.Join(v.Store(all(2)), v.Close())
		},
		func(_ *seat, name string, died bool) error {
			v, err := shm.OpenValue[five](name, nil)
			if err != nil {
				return err
			}
			n, err := oneWord(v.Load())
			return errors.Join(err, among(n, []int64{1, 2}), v.Store(all(3)), v.Close(), shm.Unlink(name))
		})
	killNewAt = makeOp("new value in a mapping",
		func(s *seat, _ string) error {
			v, err := shm.NewValueAt(s.once(), 0, all(1))
			if err != nil {
				return err
			}
			return v.Close()
		},
		func(s *seat, _ string, died bool) error {
			v, err := shm.OpenValueAt[five](s.once(), 0)
			if died && errors.Is(err, shm.ErrCorrupt) {
				v, err = shm.NewValueAt(s.once(), 0, all(1))
			}
			if err != nil {
				return err
			}
			n, err := oneWord(v.Load())
			return errors.Join(err, among(n, []int64{1}), v.Store(all(3)), v.Close())
		})
)

// pauseOp stops a reader while a writer stores so often.
func pauseOp(name string, do func(s *stage) error) *fuzz.Scenario {
	return fuzz.RegisterOp("shm/"+name, killPage, func(seg *fuzz.Segment) fuzz.Op {
		s := newStage(seg)
		casts := []fuzz.Cast{}
		for _, times := range []int64{1, 2, 3} {
			casts = append(casts, fuzz.Cast{Name: fmt.Sprintf("%d stores", times), Peers: []fuzz.Peer{
				atPoint("writer", func() (err error) {
					for i := range times {
						err = errors.Join(err, s.v().Store(all(i+2)), s.n().Store(i+2))
					}
					return err
				}),
			}})
		}
		if strings.HasPrefix(name, "mutant") {
			casts = casts[1:2]
		}
		return fuzz.Op{
			Init:    s.first,
			Prepare: func() error { s.v(); s.n(); return nil },
			Do:      func() error { return do(s) },
			Close:   s.close,
			Casts:   casts,
		}
	})
}

var (
	pauseLoad      = pauseOp("load", func(s *stage) error { return s.load(1, 2, 3, 4) })
	pauseSmallLoad = pauseOp("small load", func(s *stage) error { return among(s.n().Load(), []int64{1, 2, 3, 4}) })
	pauseUnchecked = pauseOp("mutant: load without a check", func(s *stage) error {
		_, err := oneWord(s.v().LoadUnchecked())
		return err
	})
	// A writer stands still, and the reader must come through.
	pauseStore = fuzz.RegisterOp("shm/store, paused", killPage, func(seg *fuzz.Segment) fuzz.Op {
		s := newStage(seg)
		reader := atPoint("reader", func() error {
			for range 10 {
				if err := s.load(1, 2); err != nil {
					return err
				}
			}
			return nil
		})
		return fuzz.Op{
			Init:    s.first,
			Prepare: func() error { s.v(); return s.v().Update(func(*five) error { return nil }) },
			Do:      func() error { return s.v().Store(all(2)) },
			Close:   s.close,
			Casts:   []fuzz.Cast{{Name: "reader", Peers: []fuzz.Peer{reader}}},
		}
	})
)
