package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// printTable prints the rows by placement and size, the fastest first. The bar
// is the median round trip on a logarithmic scale: one step more is the same
// factor everywhere.
func printTable(w io.Writer, pls []placement, rows []*result) {
	low, high := math.Inf(1), 0.0
	for _, r := range rows {
		low, high = min(low, r.RTT.P50), max(high, r.RTT.P50)
	}
	for _, pl := range pls {
		fmt.Fprintf(w, "\n%-17s %-7s %7s  %8s %8s %8s  %9s %9s %8s  %s\n", strings.ToUpper(pl.name),
			"impl", "size", "rtt p50", "p99", "p99.9", "msgs/s", "bytes/s", "CPU/msg", "rtt p50, log scale")
		var here []*result
		for _, r := range rows {
			if r.Placement == pl.name {
				here = append(here, r)
			}
		}
		slices.SortStableFunc(here, func(a, b *result) int {
			if c := sizeClass(a.Size) - sizeClass(b.Size); c != 0 {
				return c
			}
			return int(math.Copysign(1, a.RTT.P50-b.RTT.P50))
		})
		for i, r := range here {
			if i > 0 && sizeClass(r.Size) != sizeClass(here[i-1].Size) {
				fmt.Fprintln(w)
			}
			fmt.Fprintf(w, "%-17s %-7s %7s  %8s %8s %8s  %9s %9s %8s  %s\n", r.Path, r.Impl, sizeText(r.Size),
				duration(r.RTT.P50), duration(r.RTT.P99), duration(r.RTT.P999),
				quantity(r.Msgs, 1000, ""), quantity(r.Bytes, 1000, "B"), duration(r.CPU), bar(r.RTT.P50, low, high))
		}
	}
}

// sizeClass puts the signals, which have no payload, with the small messages.
func sizeClass(size int) int { return max(size, 64) }

func sizeText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// duration prints nanoseconds with three digits and a unit.
func duration(ns float64) string {
	for _, u := range []struct {
		name string
		ns   float64
	}{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}} {
		if ns >= u.ns {
			return digits(ns/u.ns) + u.name
		}
	}
	return fmt.Sprintf("%.0fns", ns)
}

func digits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// quantity prints a number with three digits and k, M, G.
func quantity(v, step float64, unit string) string {
	for _, prefix := range []string{"", "k", "M", "G"} {
		if v < step || prefix == "G" {
			return digits(v) + prefix + unit
		}
		v /= step
	}
	return ""
}

// bar grows from 1 to 20 characters with the logarithm of v.
func bar(v, low, high float64) string {
	const most = 20.0
	part := 0.0
	if high > low {
		part = math.Log(v/low) / math.Log(high/low)
	}
	eighths := int(8 * (1 + part*(most-1)))
	return strings.Repeat("█", eighths/8) + []string{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}[eighths%8]
}

// progress is a line on the terminal that says what is being measured.
type progress struct {
	w        io.Writer // nil: not a terminal
	done, of int
}

func newProgress(w io.Writer, of int) *progress {
	if f, ok := w.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return &progress{w: w, of: of}
		}
	}
	return &progress{}
}

func (p *progress) step(name, placement string) {
	if p.w == nil {
		return
	}
	p.done++
	fmt.Fprintf(p.w, "\r\x1b[K[%d/%d] %s, %s", p.done, p.of, name, placement)
}

func (p *progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
