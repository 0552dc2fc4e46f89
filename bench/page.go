package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A page is what the template shows: numbers as text, pictures as SVG.
type page struct {
	Machine, Command, Date string
	Rounds                 int
	Peers                  []string
	Places                 []pagePlace
}

type pagePlace struct {
	Title  string
	Charts []pageChart
	Rows   []pageRow
	Costs  []pageCost
}

type pageChart struct {
	Title string
	SVG   template.HTML
}

type pageRow struct {
	First                                  bool
	Path, Impl, Size, RTT, RTTRange, P99   string
	Msgs, MsgsRange, Bytes, CPU, C, Python string
	Note                                   string
}

type pageCost struct {
	First                          bool
	Name, With, Value, Range, Note string
}

var placeTitles = map[string]string{
	"one-cpu": "Both on one CPU", "two-cpus": "On two CPUs", "siblings": "On two siblings of one core",
	"two-sockets": "On two sockets", "unpinned": "Wherever the kernel puts them",
}

// newPage lays out the rows of the paths.
func newPage(o *options, pls []placement, rows []*result, costs []*cost, about []string) *page {
	pg := &page{Machine: machine(), Command: "go run ./bench " + commandLine(o.args),
		Date: time.Now().UTC().Format("2 January 2006"), Rounds: o.rounds, Peers: about}
	for _, pl := range pls {
		here := ordered(rows, pl.name)
		if len(here) == 0 {
			continue
		}
		place := pagePlace{Title: placeTitles[pl.name], Charts: pathCharts(here)}
		for i, r := range here {
			place.Rows = append(place.Rows, newPageRow(r, i > 0 && sizeClass(r.Size) != sizeClass(here[i-1].Size)))
		}
		pg.Places = append(pg.Places, place)
	}
	if len(costs) > 0 {
		pg.Places = append(pg.Places, costPlace(costs))
	}
	return pg
}

// costPlace has a picture for each kind of growth, and all costs as a table.
func costPlace(costs []*cost) pagePlace {
	place := pagePlace{Title: "What else costs"}
	charts := map[string]*chart{}
	var order []*chart
	for i, c := range costs {
		place.Costs = append(place.Costs, pageCost{i > 0 && c.Name != costs[i-1].Name, c.Name,
			strings.TrimSuffix(c.with()+", "+c.Placement, ", "), c.text(c.Value), c.rangeText(), c.note()})
		if c.X == 0 || c.Placement == "unpinned" {
			continue
		}
		ch := charts[c.Name]
		if ch == nil {
			ch = &chart{Title: "A " + c.Name, XLabel: c.Name[strings.LastIndexByte(c.Name, ' ')+1:], yText: duration,
				xText: func(v float64) string { return strconv.Itoa(int(v)) }}
			charts[c.Name], order = ch, append(order, ch)
		}
		ch.add(c)
	}
	for _, ch := range order {
		place.Charts = append(place.Charts, pageChart{ch.Title, template.HTML(ch.svg())})
	}
	return place
}

// add puts the cost on the line of its kind and placement.
func (ch *chart) add(c *cost) {
	name := c.With
	if i := strings.IndexByte(name, '.'); i >= 0 {
		name = name[i+1:] // the package is in the table
	}
	dash := map[string]string{"one-cpu": "7 3"}[c.Placement]
	if c.Placement != "" {
		name += map[string]string{"one-cpu": " 1 CPU", "two-cpus": " 2 CPUs"}[c.Placement]
	}
	i := slices.IndexFunc(ch.series, func(s series) bool { return s.name == name })
	if i < 0 {
		i = len(ch.series)
		ch.series = append(ch.series, series{name: name, hue: i * 137 % 360, dash: dash})
	}
	ch.series[i].points = append(ch.series[i].points, point{c.X, c.Value, c.Range[0], c.Range[1]})
}

// commandLine quotes for a shell what needs it.
func commandLine(args []string) string {
	quoted := slices.Clone(args)
	for i, a := range quoted {
		if strings.ContainsAny(a, " |&;<>()$`\\\"'*?[]#~^") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func newPageRow(r *result, first bool) pageRow {
	row := pageRow{First: first, Path: r.Path, Impl: r.Impl, Size: sizeText(r.Size), RTT: duration(r.RTT.P50),
		RTTRange: duration(r.RTTRange[0]) + "–" + duration(r.RTTRange[1]), P99: duration(r.RTT.P99),
		Msgs:      quantity(r.Msgs, 1000, ""),
		MsgsRange: quantity(r.MsgsRange[0], 1000, "") + "–" + quantity(r.MsgsRange[1], 1000, ""),
		Bytes:     quantity(r.Bytes, 1000, "B"), CPU: duration(r.CPU), C: r.C.String(), Python: r.Python.String()}
	if r.Line > 0 && r.Impl != "probe" {
		row.Note = "line " + duration(r.Line) + " "
	}
	if r.Noisy {
		row.Note += "noisy"
	}
	return row
}

// drawn are the peers that are lines of the pictures; the table has all.
var drawn = []string{"C ring", "C pipe", "C stream", "Python Pipe", "Python Queue", "net/rpc"}

// pathCharts are latency by size and throughput by size.
func pathCharts(rows []*result) (cs []pageChart) {
	latency := &chart{Title: "Round trip by size", XLabel: "size of the message", yText: duration}
	through := &chart{Title: "Bytes a second by size", XLabel: "size of the message",
		yText: func(v float64) string { return quantity(v, 1000, "B") }}
	for _, c := range []*chart{latency, through} {
		c.xText = func(v float64) string { return sizeText(int(v)) }
		for i, p := range allNames(rows) {
			s := series{name: p.Path, hue: i * 137 % 360, dash: dashes[p.Impl]}
			for _, r := range rows {
				if r.Path != p.Path {
					continue
				}
				if c == latency {
					s.points = append(s.points, point{float64(r.Size), r.RTT.P50, r.RTTRange[0], r.RTTRange[1]})
				} else {
					n := float64(r.Size)
					s.points = append(s.points, point{n, r.Bytes, r.MsgsRange[0] * n, r.MsgsRange[1] * n})
				}
			}
			c.series = append(c.series, s)
		}
		if len(c.series) > 0 {
			cs = append(cs, pageChart{c.Title, template.HTML(c.svg())})
		}
	}
	return cs
}

var dashes = map[string]string{"C": "7 3", "Python": "1.5 3", "net": "3 2", "os": "3 2", "go": "3 2", "kernel": "3 2"}

// allNames is one row of each path that is drawn, in the order of names, so
// that a path has the same colour in all pictures. Signals have no size.
func allNames(rows []*result) (names []*result) {
	for _, r := range rows {
		peer := r.Impl == "C" || r.Impl == "Python" || r.Impl == "os" || r.Impl == "go" || r.Path == "net/rpc"
		if r.Size < 64 || peer && !slices.Contains(drawn, r.Path) ||
			slices.ContainsFunc(names, func(n *result) bool { return n.Path == r.Path }) {
			continue
		}
		names = append(names, r)
	}
	slices.SortFunc(names, func(a, b *result) int { return strings.Compare(a.Path, b.Path) })
	return names
}

// write replaces the file in one step: a reader sees the old page or the new.
func (pg *page) write(name string) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, pg); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".bench-*.html")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // no longer there when all went well
	_, err = f.Write(b.Bytes())
	for _, e := range []error{f.Chmod(0o644), f.Close()} {
		if err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
