package futex_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// rwWorker does a section of a random kind, by a random way, until told to end.
func rwWorker(ctx context.Context, g *rwPair) error {
	for n := 0; g.Over.Load() == 0; n++ {
		kind, tries := rand.IntN(2), rand.IntN(2) == 0
		k := rwKinds[kind]
		if tries {
			if ok, err := k.try(&g.Mu); err != nil {
				return err
			} else if !ok {
				continue
			}
		} else if err := k.lock(&g.Mu, ctx); err != nil {
			return err
		}
		if kind == writing {
			g.A++
		}
		if a, b := g.A, g.B; a != b+int64(kind) {
			return errors.New("a writer beside another one, or beside a reader")
		}
		if kind == writing {
			g.B++
		}
		if err := k.unlock(&g.Mu); err != nil {
			return err
		}
		g.Sections.Add(1)
		if n == 0 {
			g.Got.Add(1)
		}
	}
	return nil
}

var rwStorm = proc.Register("rwStorm", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	errs := make(chan error)
	for range rwPerChild {
		go func() { errs <- rwWorker(ctx, s.Ptr()) }()
	}
	var all error
	for range rwPerChild {
		if err := <-errs; err != nil {
			s.Ptr().Over.Store(1)
			all = errors.Join(all, err)
		}
	}
	return all
})

const rwPerChild = 8

func runStorm(t *testing.T, children int, d time.Duration) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	ctx, cancel := context.WithTimeout(bg, d+hang)
	defer cancel()
	var all []*proc.Process
	for range children {
		p, err := rwStorm.Start(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	until(t, "everybody once in", func() bool {
		return int(g.Got.Load()) >= children || g.Over.Load() != 0
	})
	last := int64(0)
	for end := time.Now().Add(d); time.Now().Before(end) && g.Over.Load() == 0; {
		time.Sleep(d / 10)
		until(t, "progress", func() bool { return g.Sections.Load() > last || g.Over.Load() != 0 })
		last = g.Sections.Load()
	}
	g.Over.Store(1)
	for _, p := range all {
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d sections, %d of them written", g.Sections.Load(), g.A)
	passes(t, &g.Mu, writing, nil)
}

func TestCase103Storm(t *testing.T) {
	d := time.Second
	switch {
	case *long:
		d = time.Minute
	case testing.Short():
		d = 200 * time.Millisecond
	}
	runStorm(t, 4, d)
}

var rwHandOver = proc.Register("rwHandOver", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	g := s.Ptr()
	for range 500 {
		for i, k := range rwKinds {
			if err := k.lock(&g.Mu, ctx); err != nil {
				return err
			}
			g.A += int64(i)
			if err := k.unlock(&g.Mu); err != nil {
				return err
			}
		}
	}
	return nil
})

func TestCase104HandOver(t *testing.T) {
	s := newShared[rwPair](t)
	var all []*proc.Process
	for range 3 {
		p, err := rwHandOver.Start(within(t), s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for _, p := range all {
		if _, err := p.Wait(within(t)); err != nil {
			t.Error(err)
		}
	}
	if n := s.Ptr().A; n != 1500 {
		t.Errorf("%d sections written, want 1500", n)
	}
}

var rwReadOn = proc.Register("rwReadOn", func(ctx context.Context, s *shm.Shared[rwPair]) error {
	g := s.Ptr()
	for in := false; g.Over.Load() == 0; in = true {
		if err := g.Mu.RLock(); err != nil {
			return err
		}
		if !in {
			g.In.Add(1)
		}
		for end := time.Now().Add(time.Millisecond); time.Now().Before(end); {
		}
		if err := g.Mu.RUnlock(); err != nil {
			return err
		}
	}
	return nil
})

func TestCase106ReadersStarveNoWriter(t *testing.T) {
	s := newShared[rwPair](t)
	g := s.Ptr()
	for range 4 {
		p := startRW(t, rwReadOn, s)
		defer p.Wait(bg)
	}
	defer g.Over.Store(1)
	longest := time.Duration(0)
	for range 20 {
		start := time.Now()
		passes(t, &g.Mu, writing, nil)
		longest = max(longest, time.Since(start))
	}
	t.Logf("a writer waited %v at most", longest)
	if longest > 20*time.Second { // of 1 s on an idle machine
		t.Error("four readers that never pause starve a writer")
	}
}
