package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testPage is a page of made-up rows.
func testPage(t *testing.T) string {
	t.Helper()
	var rows []*result
	for i, p := range append(paths, (&peers{c: []string{"c"}, python: []string{"p"}}).paths()...) {
		for _, size := range p.sizesOf([]int{64, 4096, 1 << 20}) {
			rtt := float64(500 * (i + 1) * size)
			rows = append(rows, &result{Path: p.name, Impl: p.impl, Size: size, Placement: "two-cpus", RTT: rttStats{rtt, rtt * 2, rtt * 3, 9},
				RTTRange: [2]float64{rtt / 2, rtt * 2}, Msgs: 2e9 / rtt, MsgsRange: [2]float64{1e9 / rtt, 3e9 / rtt},
				Bytes: 2e9 / rtt * float64(size), CPU: rtt / 3, C: &ratio{"C <ring>", .5, .25}, Noisy: i%2 == 0})
		}
	}
	o := &options{args: []string{"-peers", "-paths", "a|b<c>"}, rounds: 5}
	pls := []placement{{name: "one-cpu"}, {name: "two-cpus"}}
	var costs []*cost
	for _, n := range []float64{1, 10, 100} {
		costs = append(costs, &cost{Name: "wake by waiters", With: "futex.Wake", Unit: "ns", Value: 50 + n, Range: [2]float64{40, 60 + n}, X: n})
	}
	costs = append(costs, &cost{Name: "pool", With: "RSS", Unit: "bytes", Value: 9e6, Range: [2]float64{9e6, 9e6}})
	name := filepath.Join(t.TempDir(), "page.html")
	if err := newPage(o, pls, rows, costs, []string{"C by <cc>"}).write(name); err != nil {
		t.Fatal(err)
	}
	return name
}

// The page needs nothing from elsewhere, its pictures are well formed, and no
// text of it becomes markup.
func TestPage(t *testing.T) {
	name := testPage(t)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, want := range []string{"prefers-color-scheme: dark", `name="viewport"`, "C by &lt;cc&gt;", "-paths &#39;a|b&lt;c&gt;&#39;",
		"On two CPUs", "shm.Ring-sleep", "Python Queue", "noisy", "0.50 0.25", "A wake by waiters", "9.00MB"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, bad := range []string{"<script", "http:", "https:", "src=", "@import", "url(", "NaN", "Inf", "ZgotmplZ", "On one CPU"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is there", bad)
		}
	}
	pictures := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(text, -1)
	if len(pictures) != 3 {
		t.Errorf("%d pictures", len(pictures))
	}
	for _, svg := range pictures {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), ".bench-*")); len(left) > 0 {
		t.Errorf("%q were left", left)
	}
}

func TestPageUnwritable(t *testing.T) {
	pg := newPage(&options{}, nil, nil, nil, nil)
	if err := pg.write(filepath.Join(t.TempDir(), "none", "page.html")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Headless Chromium shows the page without a horizontal bar on a phone, with
// pictures that fill it and names that don't overlap, and dark where that is
// wished.
func TestPageChromium(t *testing.T) {
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no Chromium is there")
	}
	data, err := os.ReadFile(testPage(t))
	if err != nil {
		t.Fatal(err)
	}
	// The frame is as wide as a phone: Chromium's own window can't be.
	dir, err := os.MkdirTemp("", "rawipc-bench")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const probe = `<script>addEventListener("load", () => {
		const all = q => [...document.querySelectorAll(q)], box = e => e.getBoundingClientRect()
		const tops = all("figure:first-child .name").map(e => box(e).top).sort((a, b) => a - b)
		const found = {
			across: document.documentElement.scrollWidth, window: innerWidth,
			svgs: all("svg").length, narrowest: Math.min(...all("svg").map(e => box(e).width)),
			gap: Math.min(...tops.slice(1).map((t, i) => t - tops[i])),
			letter: Math.min(...all("svg text").map(e => box(e).height)),
			shade: getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number).reduce((a, b) => a + b),
		}
		parent.postMessage(JSON.stringify(found), "*")
	})</script>`
	const frame = `<!doctype html><iframe src="page.html" style="width:360px;height:700px;border:0"></iframe><pre id="found"></pre>
		<script>addEventListener("message", e => document.getElementById("found").textContent = "FOUND" + e.data)</script>`
	for name, text := range map[string]string{"page.html": string(data) + probe, "frame.html": frame} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	schemes := []string{"dark", "light"}
	if testing.Short() {
		schemes = schemes[:1]
	}
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			setting := map[string]string{"dark": "0", "light": "1"}[scheme]
			dom, err := render(t, browser, dir, "--blink-settings=preferredColorScheme="+setting)
			_, found, ok := strings.Cut(dom, "FOUND{")
			if found, _, _ = strings.Cut(found, "}"); err != nil || !ok {
				t.Skipf("%s shows no page here: %v", browser, err)
			}
			v := map[string]float64{}
			for _, field := range strings.Split(found, ",") {
				name, value, _ := strings.Cut(field, ":")
				v[strings.Trim(name, `"`)], _ = strconv.ParseFloat(value, 64)
			}
			if v["window"] != 360 || v["across"] > v["window"] || v["svgs"] != 3 || v["narrowest"] < 300 || v["gap"] < 8 || v["letter"] < 8 {
				t.Errorf("on a phone: %v", v)
			}
			if dark := v["shade"] < 200; dark != (scheme == "dark") {
				t.Errorf("wished %s: %v", scheme, v)
			}
		})
	}
}

// render is what the browser made of frame.html.
func render(t *testing.T, browser, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	args = append(args, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+filepath.Join(dir, "profile"), "--virtual-time-budget=5000",
		"--dump-dom", "file://"+filepath.Join(dir, "frame.html"))
	cmd := exec.CommandContext(ctx, browser, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	return out.String(), err
}
