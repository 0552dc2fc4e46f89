package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// A chart is a picture with both axes logarithmic: equal steps are equal
// factors.
type chart struct {
	Title, XLabel, YLabel string
	xText, yText          func(float64) string
	series                []series
}

type series struct {
	name   string
	hue    int    // of the line, in degrees
	dash   string // "" for a solid line
	points []point
}

// A point has the extremes of its rounds.
type point struct{ x, y, low, high float64 }

const (
	svgWidth, svgHeight   = 420.0, 400.0
	left, right           = 52.0, 112.0 // room for the numbers and for the names
	top, bottom, labelGap = 10.0, 34.0, 11.5
)

// scale maps a range to a stretch of the picture, by logarithm.
type scale struct{ low, high, from, to float64 }

func (s scale) at(v float64) float64 {
	if s.high <= s.low {
		return (s.from + s.to) / 2
	}
	return s.from + (s.to-s.from)*math.Log(v/s.low)/math.Log(s.high/s.low)
}

// ticks are powers of step within the range, at most about seven.
func (s scale) ticks(step float64) (ts []float64) {
	for step < 1e6 && math.Log(s.high/s.low)/math.Log(step) > 7 {
		step *= step
	}
	for v := math.Pow(step, math.Ceil(math.Log(s.low)/math.Log(step)-1e-9)); v <= s.high*1.0001; v *= step {
		ts = append(ts, v)
	}
	return ts
}

// svg draws the chart. Colours come from the page's style sheet, which knows
// whether it is dark.
func (c *chart) svg() string {
	x := scale{math.Inf(1), 0, left, svgWidth - right}
	y := scale{math.Inf(1), 0, svgHeight - bottom, top}
	for _, s := range c.series {
		for _, p := range s.points {
			x.low, x.high = min(x.low, p.x), max(x.high, p.x)
			y.low, y.high = min(y.low, p.low), max(y.high, p.high)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, svgWidth, svgHeight, html.EscapeString(c.Title))
	for _, v := range y.ticks(10) {
		fmt.Fprintf(&b, `<path class="grid" d="M%g %.1fH%g"/><text class="n" x="%g" y="%.1f">%s</text>`,
			left, y.at(v), svgWidth-right, left-4, y.at(v)+4, html.EscapeString(c.yText(v)))
	}
	for _, v := range c.xs() {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %gV%g"/><text class="m" x="%.1f" y="%g">%s</text>`,
			x.at(v), top, svgHeight-bottom, x.at(v), svgHeight-bottom+13, html.EscapeString(c.xText(v)))
	}
	fmt.Fprintf(&b, `<text class="m" x="%g" y="%g">%s</text>`, (left+svgWidth-right)/2, svgHeight-6, html.EscapeString(c.XLabel))
	for _, s := range c.series {
		c.line(&b, s, x, y)
	}
	c.names(&b, y)
	b.WriteString(`</svg>`)
	return b.String()
}

// xs are the measured places, thinned where they would overlap.
func (c *chart) xs() (xs []float64) {
	for _, s := range c.series {
		for _, p := range s.points {
			xs = append(xs, p.x)
		}
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	for len(xs) > 6 {
		for i := 1; i < len(xs); i++ {
			xs = slices.Delete(xs, i, i+1)
		}
	}
	return xs
}

func (c *chart) line(b *strings.Builder, s series, x, y scale) {
	fmt.Fprintf(b, `<g style="--h:%d"><title>%s</title><path class="line" stroke-dasharray="%s" d="`, s.hue, html.EscapeString(s.name), s.dash)
	for i, p := range s.points {
		fmt.Fprintf(b, "%c%.1f %.1f", "ML"[min(i, 1)], x.at(p.x), y.at(p.y))
	}
	b.WriteString(`"/>`)
	for _, p := range s.points {
		fmt.Fprintf(b, `<path class="range" d="M%.1f %.1fV%.1f"/><circle cx="%.1f" cy="%.1f" r="2"/>`,
			x.at(p.x), y.at(p.low), y.at(p.high), x.at(p.x), y.at(p.y))
	}
	b.WriteString(`</g>`)
}

// names stand at the right in the order of the lines' ends, none on another.
func (c *chart) names(b *strings.Builder, y scale) {
	sorted := slices.Clone(c.series)
	last := func(s series) float64 { return y.at(s.points[len(s.points)-1].y) }
	slices.SortStableFunc(sorted, func(a, b series) int { return int(math.Copysign(1, last(a)-last(b))) })
	at := make([]float64, len(sorted))
	for i, s := range sorted {
		at[i] = last(s)
		if i > 0 {
			at[i] = max(at[i], at[i-1]+labelGap)
		}
	}
	for i := len(at) - 1; i >= 0; i-- { // push back what fell out at the bottom
		at[i] = min(at[i], svgHeight-bottom-labelGap*float64(len(at)-1-i))
	}
	for i, s := range sorted {
		fmt.Fprintf(b, `<text class="name" style="--h:%d" x="%g" y="%.1f">%s</text>`,
			s.hue, svgWidth-right+6, at[i]+3.5, html.EscapeString(s.name))
	}
}
