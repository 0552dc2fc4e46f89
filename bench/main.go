package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rawipc/rawipc/proc"
)

// A worker, or a partner of the loops, is this program again and ends in Dispatch.
func main() {
	proc.Dispatch()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags, checked.
type options struct {
	json  bool
	paths []*path
	sizes []int
	time  time.Duration

	args   []string
	html   string
	peers  bool
	all    bool
	tasks  []*task
	rounds int // 0: each row once, without a neighbour's influence
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{args: args}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard) // errors are reported once, by main
	f.BoolVar(&o.json, "json", false, "print one JSON object a line")
	match := f.String("paths", "", "measure only the paths whose name matches this `regexp`")
	sizes := f.String("sizes", usualSizes, "message `sizes`, with KiB and MiB")
	o.time = 100 * time.Millisecond
	f.Func("time", "`duration` of each loop, of which a row has two (default 100ms)", func(s string) (err error) {
		if o.time, err = time.ParseDuration(s); err != nil || o.time <= 0 || o.time > time.Minute {
			return errors.New("want a duration of more than 0 and at most 1m, such as 100ms")
		}
		return nil
	})
	f.Func("rounds", "`number` of rounds, in which all paths take turns: medians, with extremes, on all placements", func(s string) (err error) {
		if o.rounds, err = strconv.Atoi(s); err != nil || o.rounds < 1 || o.rounds > 1000 {
			return errors.New("want a number of rounds from 1 to 1000")
		}
		return nil
	})
	f.BoolVar(&o.peers, "peers", false, "measure C, Python and the standard library beside, in 5 rounds if -rounds says nothing")
	f.StringVar(&o.html, "html", "", "write a page with pictures to this `file`, too; 5 rounds if -rounds says nothing")
	f.BoolVar(&o.all, "all", false, "measure every primitive, cost and scale, too; 5 rounds if -rounds says nothing")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(stderr)
			f.Usage()
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: want flags only (see -help)", f.Arg(0))
	}
	if (o.peers || o.all || o.html != "") && o.rounds == 0 {
		o.rounds = 5
	}
	re, err := regexp.Compile(*match)
	if err != nil {
		return nil, fmt.Errorf("-paths %q: want a regular expression: %w", *match, err)
	}
	var names []string
	from := paths
	if o.all {
		from = append(from[:len(from):len(from)], morePaths...)
		for _, t := range tasks {
			if re.MatchString(t.name + " " + t.with) {
				o.tasks = append(o.tasks, t)
			}
		}
	}
	for _, p := range from {
		names = append(names, p.name)
		if re.MatchString(p.name) {
			o.paths = append(o.paths, p)
		}
	}
	if len(o.paths)+len(o.tasks) == 0 {
		return nil, fmt.Errorf("-paths %q matches none of %s", *match, strings.Join(names, ", "))
	}
	if o.all && *sizes == usualSizes {
		*sizes = "64,1KiB,4KiB,64KiB,1MiB,16MiB,64MiB"
	}
	for _, s := range strings.Split(*sizes, ",") {
		n, err := parseSize(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("-sizes %q: %w", *sizes, err)
		}
		o.sizes = append(o.sizes, n)
	}
	return o, nil
}

const usualSizes = "64,4KiB,64KiB,1MiB"

const maxSize = 64 << 20

func parseSize(s string) (int, error) {
	digits, factor := s, 1
	for unit, n := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			digits, factor = rest, n
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > maxSize/factor {
		return 0, fmt.Errorf("%q: want bytes from 1 to 64MiB, such as 64, 4KiB or 1MiB", s)
	}
	return n * factor, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.rounds > 0 {
		return runRounds(ctx, o, stdout, stderr)
	}
	pls, note, err := placements()
	if err != nil {
		return err
	}
	if !o.json {
		fmt.Fprintln(stdout, machine())
		if note != "" {
			fmt.Fprintln(stdout, note)
		}
	}
	show := newProgress(stderr, len(o.paths)*len(pls))
	var rows []*result
	var failed []string
	for _, pl := range pls {
		for _, p := range o.paths {
			show.step(p.name, pl.name)
			rs, err := measurePath(ctx, p, pl, o)
			if ctx.Err() != nil {
				show.clear()
				return ctx.Err()
			}
			if err != nil {
				failed = append(failed, fmt.Sprintf("%s, %s: %v", p.name, pl.name, err))
			}
			rows = append(rows, rs...)
			if o.json {
				enc := json.NewEncoder(stdout)
				for _, r := range rs {
					if err := enc.Encode(r); err != nil {
						return err
					}
				}
			}
		}
	}
	show.clear()
	if !o.json {
		printTable(stdout, pls, rows)
	}
	if len(failed) > 0 {
		return fmt.Errorf("not measured:\n\t%s", strings.Join(failed, "\n\t"))
	}
	return nil
}

// measurePath measures a path at all sizes. A path that hangs is given up.
func measurePath(ctx context.Context, p *path, pl placement, o *options) ([]*result, error) {
	sizes := p.sizesOf(o.sizes)
	if len(sizes) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second+time.Duration(len(sizes))*10*o.time,
		errors.New("it took far too long and was given up"))
	defer cancel()
	s, err := p.start(ctx, pl)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var rs []*result
	for _, size := range sizes {
		r, err := p.measure(s, size, pl, o.time)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return rs, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}
