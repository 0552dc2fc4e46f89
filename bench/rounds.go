package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A contest is a placement with all its paths, open at the same time, so that
// one round of each follows another and what disturbs the machine for a second
// disturbs all of them alike.
type contest struct {
	pl      placement
	o       *options
	entries []*entry
	failed  []string
}

type entry struct {
	path   *path
	run    runner
	cancel context.CancelCauseFunc
	ctx    context.Context
	rows   map[int][]*result // of each size, one a round
}

var errStuck = errors.New("it took far too long and was given up")

// play runs the rounds and returns a row for each path and size.
func play(ctx context.Context, pl placement, ps []*path, o *options, show *progress) ([]*result, []string) {
	c := &contest{pl: pl, o: o}
	for _, p := range ps {
		if len(p.sizesOf(o.sizes)) == 0 || p.needsTwo && !(pl.apart() && len(pl.a) > 0) {
			continue
		}
		show.step(p.name, pl.name+", start")
		c.enter(ctx, p)
	}
	defer func() {
		for _, e := range c.entries {
			e.leave()
		}
	}()
	for round := range o.rounds {
		for _, size := range append([]int{0}, o.sizes...) {
			show.step(sizeText(size), fmt.Sprintf("%s, round %d of %d", pl.name, round+1, o.rounds))
			if c.turn(size); ctx.Err() != nil {
				return nil, c.failed
			}
		}
	}
	return c.results(), c.failed
}

func (c *contest) enter(ctx context.Context, p *path) {
	e := &entry{path: p, rows: map[int][]*result{}}
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	watchdog := time.AfterFunc(30*time.Second, func() { e.cancel(errStuck) })
	defer watchdog.Stop()
	var err error
	if e.run, err = p.start(e.ctx, c.pl); err != nil {
		c.fail(e, err)
		return
	}
	c.entries = append(c.entries, e)
}

func (c *contest) fail(e *entry, err error) {
	if cause := context.Cause(e.ctx); cause != nil {
		err = cause
	}
	e.leave()
	c.failed = append(c.failed, fmt.Sprintf("%s (%s), %s: %v", e.path.name, e.path.impl, c.pl.name, err))
}

func (e *entry) leave() {
	if e.run != nil {
		e.run.close()
		e.run = nil
	}
	e.cancel(nil)
}

// turn measures one size, or for 0 the signals, on every path, in an order of
// its own: nobody always comes after the same neighbour.
func (c *contest) turn(size int) {
	for _, i := range rand.Perm(len(c.entries)) {
		e := c.entries[i]
		n := size
		if e.path.fixed > 0 != (size == 0) || e.path.max > 0 && size > e.path.max || e.run == nil {
			continue
		}
		if size == 0 {
			n = e.path.fixed
		}
		watchdog := time.AfterFunc(30*time.Second+20*c.o.time, func() { e.cancel(errStuck) })
		r, err := e.path.measure(e.run, n, c.pl, c.o.time)
		watchdog.Stop()
		if err != nil {
			c.fail(e, err)
			continue
		}
		e.rows[n] = append(e.rows[n], r)
	}
}

// results are the medians, in the order of the paths, with what they are
// compared to.
func (c *contest) results() (rows []*result) {
	find := func(name string) *entry {
		for _, e := range c.entries {
			if e.path.name == name {
				return e
			}
		}
		return nil
	}
	probe := find(lineProbe.name)
	for _, e := range c.entries {
		if e.run == nil {
			continue // it failed on the way
		}
		for _, size := range append([]int{e.path.fixed}, c.o.sizes...) {
			if len(e.rows[size]) == 0 || e.path.fixed > 0 && size != e.path.fixed {
				continue
			}
			r := median(e.rows[size])
			r.C = e.ratioTo(find(e.path.c), size)
			r.Python = e.ratioTo(find(e.path.python), size)
			if probe != nil && e.path.spins {
				r.Line = median(probe.rows[probe.path.fixed]).RTT.P50
			}
			rows = append(rows, r)
			if e.path.fixed > 0 {
				break
			}
		}
	}
	return rows
}

// A ratio says how many times as fast as another path one is, round by round:
// 1 is as fast, 0.5 takes twice as long.
type ratio struct {
	Path string  `json:"path"`
	RTT  float64 `json:"rtt"`
	Msgs float64 `json:"msgs,omitempty"` // unless one is of calls and one of a stream
}

func (e *entry) ratioTo(other *entry, size int) *ratio {
	if other == nil {
		return nil
	}
	ours, theirs := e.rows[size], other.rows[size]
	if other.path.fixed > 0 {
		theirs = other.rows[other.path.fixed]
	}
	var rtt, msgs []float64
	for i := range min(len(ours), len(theirs)) {
		rtt = append(rtt, theirs[i].RTT.P50/ours[i].RTT.P50)
		msgs = append(msgs, ours[i].Msgs/theirs[i].Msgs)
	}
	if len(rtt) == 0 {
		return nil
	}
	r := &ratio{other.path.name, middle(rtt), middle(msgs)}
	if e.path.calls != other.path.calls {
		r.Msgs = 0
	}
	return r
}

// median is a row of the medians of all figures, with their extremes.
func median(rs []*result) *result {
	m := *rs[0]
	of := func(f func(*result) float64) (float64, [2]float64) {
		var vs []float64
		for _, r := range rs {
			vs = append(vs, f(r))
		}
		return middle(vs), [2]float64{slices.Min(vs), slices.Max(vs)}
	}
	m.RTT.P50, m.RTTRange = of(func(r *result) float64 { return r.RTT.P50 })
	m.RTT.P99, _ = of(func(r *result) float64 { return r.RTT.P99 })
	m.RTT.P999, _ = of(func(r *result) float64 { return r.RTT.P999 })
	m.Msgs, m.MsgsRange = of(func(r *result) float64 { return r.Msgs })
	m.Bytes = m.Msgs * float64(m.Size)
	m.CPU, _ = of(func(r *result) float64 { return r.CPU })
	m.RTT.N = 0
	for _, r := range rs {
		m.RTT.N += r.RTT.N
	}
	m.Rounds = len(rs)
	m.Noisy = noisy(rs, func(r *result) float64 { return r.RTT.P50 }) || noisy(rs, func(r *result) float64 { return r.Msgs })
	return &m
}

func middle(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
}

func noisy(rs []*result, f func(*result) float64) bool {
	var vs []float64
	for _, r := range rs {
		vs = append(vs, f(r))
	}
	return spread(vs)
}

// spread is whether the middle half of the rounds lies further apart than a
// quarter of the median: a difference of that much may be the machine's.
func spread(vs []float64) bool {
	vs = slices.Sorted(slices.Values(vs))
	cut := len(vs) / 4
	return vs[len(vs)-1-cut]-vs[cut] > middle(vs)/4
}
