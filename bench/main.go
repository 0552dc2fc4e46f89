// Command bench tells which way between two processes is fastest on this
// machine.
//
//	go run ./bench
//
// starts two processes (this program again) for each path that the kernel
// offers, sends messages between them, and prints a table: how long a message
// and its answer take, how many messages and bytes go through in a second, and
// what CPU time one costs. It takes less than a minute.
//
// Each path is measured twice: with both processes on one CPU, and on two.
// That matters more than the path itself: to wake a process on another CPU
// costs ten times what it costs on the same one, and spinning helps only on
// two.
//
//	-json            one JSON object a line instead of the table
//	-paths REGEXP    only the paths whose name matches
//	-sizes LIST      message sizes, such as 64,4KiB,1MiB
//	-time DURATION   for each of a row's two loops
//	-rounds N        take turns for N rounds, on every placement there is
//	-html FILE       one page with pictures of the same, too
//	-all             every primitive, and what grows with size, processes, waiters
//	-peers           the same loops by C, by Python and by the standard library
//
// The same measurements run under go test -bench . ./bench, with names that
// benchstat understands.
//
// # How to read it
//
// A round trip is one message there and one back. Messages per second are
// those of a stream in one direction; for paths that carry a signal and no
// payload (futex.Word, eventfd), and for pool.Call, those of the round trips.
// CPU is the time of both processes together, per message of that loop.
//
// # Rounds
//
// With -rounds all paths are open at the same time and take turns, so that
// what disturbs the machine disturbs all of them alike. A figure is the median
// of its rounds, with the smallest and the largest behind it; where the middle
// half of the rounds lies more than a quarter of the median apart, the row is
// marked noisy and settles nothing. Placements are one CPU, two cores of one
// socket, siblings of one core and two sockets where sysfs shows them, and
// wherever the kernel puts the processes. Beside the rows that spin stands how
// long a cache line alone takes there and back (cache-line): no such row can be
// faster, and if the probe differs between two runs so will they.
//
// # All
//
// With -all also the primitives that carry one bit and the queues that many
// may use are paths (a round trip of futex.Barrier is one meeting), sizes go
// from 64 B to 64 MiB, and a second table has what is no message: locks alone,
// among 2 to 32 processes and after the owner's death, queues with 1 to 32
// processes at either end or both, a wake among 1 to 10,000 sleeping threads,
// the start of a process, the pool's Map and its recovery, and memory. It takes
// some ten minutes; -paths chooses from both tables.
//
// # Peers
//
// With -peers the same loops run in C (compiled on the spot by the C compiler
// that is there), by Python's multiprocessing and by the standard library's own
// ways, in the same rounds. A row then says how many times as fast as C and as
// Python it is: C's way is that of the same kind, the limit of what a library
// can reach; of Python's it is the fastest that carries the same, and for
// pool.Call its Pool. C's ring only spins, so that beside it stands the price
// of a ring whose reader may sleep. Ratios are the medians of those of each
// round. Peers that can't run are named, with the reason.
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
