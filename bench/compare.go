package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// runRounds is run with rounds.
func runRounds(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	pls, note, err := allPlacements()
	if err != nil {
		return err
	}
	if !o.json {
		fmt.Fprintln(stdout, machine())
		if note != "" {
			fmt.Fprintln(stdout, note)
		}
	}
	var about []string
	ps := append([]*path{lineProbe}, o.paths...)
	if o.peers {
		others, err := newPeers(ctx)
		if err != nil {
			return err
		}
		defer others.close()
		if about = others.about; !o.json {
			fmt.Fprintln(stdout, "Peers:", strings.Join(about, "; "))
		}
		ps = append(ps, others.paths()...)
	}
	show := newProgress(stderr, len(pls)*(len(ps)+o.rounds*(1+len(o.sizes))))
	var rows []*result
	var failed []string
	for _, pl := range pls {
		rs, fs := play(ctx, pl, ps, o, show)
		if ctx.Err() != nil {
			show.clear()
			return ctx.Err()
		}
		rows, failed = append(rows, rs...), append(failed, fs...)
	}
	var costs []*cost
	if len(o.tasks) > 0 {
		var fs []string
		costs, fs = measureCosts(ctx, o, pls, show)
		failed = append(failed, fs...)
	}
	if show.clear(); ctx.Err() != nil {
		return ctx.Err()
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		for _, c := range costs {
			if err := enc.Encode(c); err != nil {
				return err
			}
		}
	} else {
		printRounds(stdout, pls, rows)
		if len(costs) > 0 {
			printCosts(stdout, costs)
		}
	}
	if o.html != "" {
		if err := newPage(o, pls, rows, costs, about).write(o.html); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("not measured:\n\t%s", strings.Join(failed, "\n\t"))
	}
	return nil
}

// ordered are the rows of a placement, by size and then the fastest first.
func ordered(rows []*result, placement string) []*result {
	here := slices.Clone(rows)
	here = slices.DeleteFunc(here, func(r *result) bool { return r.Placement != placement })
	slices.SortStableFunc(here, func(a, b *result) int {
		return cmp.Or(cmp.Compare(sizeClass(a.Size), sizeClass(b.Size)), cmp.Compare(a.RTT.P50, b.RTT.P50))
	})
	return here
}

// printRounds prints the medians with their extremes.
func printRounds(w io.Writer, pls []placement, rows []*result) {
	compared := slices.ContainsFunc(rows, func(r *result) bool { return r.C != nil || r.Python != nil })
	for _, pl := range pls {
		here := ordered(rows, pl.name)
		if len(here) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%-17s %-7s %7s  %8s %-15s %8s  %7s %-13s %8s %8s", strings.ToUpper(pl.name), "impl", "size",
			"rtt p50", "min–max", "p99", "msgs/s", "min–max", "bytes/s", "CPU/msg")
		if compared {
			fmt.Fprintf(w, "  %11s %13s", "×C rtt msg", "×Py rtt msg")
		}
		fmt.Fprintln(w)
		for i, r := range here {
			if i > 0 && sizeClass(r.Size) != sizeClass(here[i-1].Size) {
				fmt.Fprintln(w)
			}
			line := fmt.Sprintf("%-17s %-7s %7s  %8s %-15s %8s  %7s %-13s %8s %8s", r.Path, r.Impl, sizeText(r.Size),
				duration(r.RTT.P50), duration(r.RTTRange[0])+"–"+duration(r.RTTRange[1]), duration(r.RTT.P99),
				quantity(r.Msgs, 1000, ""), quantity(r.MsgsRange[0], 1000, "")+"–"+quantity(r.MsgsRange[1], 1000, ""),
				quantity(r.Bytes, 1000, "B"), duration(r.CPU))
			if compared {
				line += fmt.Sprintf("  %11s %13s", r.C, r.Python)
			}
			if r.Line > 0 && r.Impl != "probe" {
				line += fmt.Sprintf("  line %s", duration(r.Line))
			}
			if r.Noisy {
				line += "  noisy"
			}
			fmt.Fprintln(w, strings.TrimRight(line, " "))
		}
	}
	if compared {
		fmt.Fprintln(w, "\n×C, ×Py: how many times as fast as the same loop by C, by Python's multiprocessing;"+
			" round trip, then messages/s.")
	}
}

// String is the ratio for a table; nothing to compare with is nothing.
func (r *ratio) String() string {
	if r == nil {
		return ""
	}
	if r.Msgs == 0 {
		return factor(r.RTT) + " -"
	}
	return factor(r.RTT) + " " + factor(r.Msgs)
}

func factor(v float64) string {
	if v < 100 {
		return digits(v)
	}
	return fmt.Sprintf("%.0f", v)
}
