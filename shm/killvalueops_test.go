package shm_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"
)

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
