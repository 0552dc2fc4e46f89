package shm_test

import (
	"crypto/rand"
	"errors"
	"io/fs"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"
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
