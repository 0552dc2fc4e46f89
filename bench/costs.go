package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A cost is a row of -all that is no message: what one operation takes, or how
// much memory.
type cost struct {
	Name      string     `json:"what"`
	With      string     `json:"with,omitempty"`
	Placement string     `json:"placement,omitempty"`
	Unit      string     `json:"unit"` // "ns" or "bytes"
	Value     float64    `json:"value"`
	Range     [2]float64 `json:"min_max"`
	Rounds    int        `json:"rounds"`
	Noisy     bool       `json:"noisy,omitempty"`
	X         float64    `json:"x,omitempty"` // of a growth row: how many
}

// A task measures a cost once a round.
type task struct {
	name, with string
	unit       string  // "" is ns
	x          float64 // of how many, if it is about growth
	anywhere   bool    // has no second process whose placement matters
	run        func(ctx context.Context, pl placement, budget time.Duration) (float64, error)
}

// measureCosts runs all tasks in rounds, each round in an order of its own.
func measureCosts(ctx context.Context, o *options, pls []placement, show *progress) (costs []*cost, failed []string) {
	type job struct {
		task   *task
		pl     placement
		values []float64
		err    error
	}
	var jobs []*job
	for _, t := range o.tasks {
		for _, pl := range pls {
			if t.anywhere {
				pl = placement{}
			}
			if jobs = append(jobs, &job{task: t, pl: pl}); t.anywhere {
				break
			}
		}
	}
	for round := range o.rounds {
		for _, i := range rand.Perm(len(jobs)) {
			j := jobs[i]
			if j.err != nil {
				continue
			}
			show.step(j.task.name+" "+j.task.with, fmt.Sprintf("%s, round %d of %d", j.pl.name, round+1, o.rounds))
			limit, cancel := context.WithTimeoutCause(ctx, 60*time.Second, errStuck)
			v, err := j.task.run(limit, j.pl, o.time)
			cancel()
			if ctx.Err() != nil {
				return nil, failed
			}
			if j.values, j.err = append(j.values, v), err; err != nil {
				failed = append(failed, strings.TrimSpace(fmt.Sprintf("%s %s, %s: %v", j.task.name, j.task.with, j.pl.name, err)))
			}
		}
	}
	for _, j := range jobs {
		if j.err != nil {
			continue
		}
		unit := j.task.unit
		if unit == "" {
			unit = "ns"
		}
		costs = append(costs, &cost{j.task.name, j.task.with, j.pl.name, unit, middle(j.values),
			[2]float64{slices.Min(j.values), slices.Max(j.values)}, len(j.values), spread(j.values), j.task.x})
	}
	return costs, failed
}

func (c *cost) text(v float64) string {
	if c.Unit == "bytes" {
		return quantity(v, 1000, "B")
	}
	if v < 100 { // nanoseconds that are parts of one matter here
		return digits(v) + "ns"
	}
	return duration(v)
}

// with says with what, and with how many.
func (c *cost) with() string {
	if c.X == 0 {
		return c.With
	}
	return fmt.Sprintf("%s, %.0f", c.With, c.X)
}

func (c *cost) rangeText() string { return c.text(c.Range[0]) + "–" + c.text(c.Range[1]) }

func (c *cost) note() string {
	if c.Noisy {
		return "noisy"
	}
	return ""
}

func printCosts(w io.Writer, costs []*cost) {
	fmt.Fprintf(w, "\n%-21s %-24s %-11s %9s  %s\n", "COSTS", "with", "placement", "median", "min–max")
	for i, c := range costs {
		if i > 0 && c.Name != costs[i-1].Name && (c.X > 0 || costs[i-1].X > 0) {
			fmt.Fprintln(w)
		}
		line := fmt.Sprintf("%-21s %-24s %-11s %9s  %-19s %s", c.Name, c.with(), c.Placement, c.text(c.Value), c.rangeText(), c.note())
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// perOp runs f in growing chunks until budget is used, and is the ns of one in
// the fastest of the chunks that were long enough.
func perOp(budget time.Duration, f func() error) (float64, error) {
	n, best := 16, 0.0
	for spent := time.Duration(0); spent < budget; {
		start := time.Now()
		for range n {
			if err := f(); err != nil {
				return 0, err
			}
		}
		d := time.Since(start)
		spent += d
		if per := float64(d) / float64(n); best == 0 || d > budget/16 && per < best {
			best = per
		}
		if d < budget/8 {
			n *= 2
		}
	}
	if best == 0 {
		return 0, errors.New("bench: no time to measure")
	}
	return best, nil
}

func sleepFor(ns int64) { time.Sleep(time.Duration(ns)) }
