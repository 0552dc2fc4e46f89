package shm_test

import (
	"errors"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
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
