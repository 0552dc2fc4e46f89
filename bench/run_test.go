package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The command measures every path and prints a row for each, with plausible
// figures, from two processes that are not this one.
func TestRunJSON(t *testing.T) {
	var out bytes.Buffer
	err := run(context.Background(), []string{"-json", "-time", "2ms", "-sizes", "64, 4KiB"}, &out, io.Discard)
	if err != nil {
		t.Error(err)
	}
	seen := map[string]int{}
	for dec := json.NewDecoder(&out); ; {
		var r result
		if err := dec.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen[r.Path+" "+r.Placement]++
		if r.RTT.P50 <= 0 || r.RTT.P99 < r.RTT.P50 || r.RTT.P999 < r.RTT.P99 || r.RTT.N == 0 ||
			r.Msgs <= 0 || r.Bytes != r.Msgs*float64(r.Size) || r.CPU < 0 {
			t.Errorf("%+v", r)
		}
		if len(r.Pids) != 2 || r.Pids[0] == r.Pids[1] || slices.Contains(r.Pids, os.Getpid()) {
			t.Errorf("%s: processes %v, this is %d", r.Path, r.Pids, os.Getpid())
		}
	}
	pls, _, err := placements()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		for _, pl := range pls {
			if n, want := seen[p.name+" "+pl.name], len(p.sizesOf([]int{64, 4096})); n != want {
				t.Errorf("%s, %s: %d rows, want %d", p.name, pl.name, n, want)
			}
		}
	}
}

func TestRunTable(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), []string{"-time", "1ms", "-paths", "^shm.Ring$|eventfd"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CPUs", "Linux", "ONE-CPU", "shm.Ring", "eventfd", "1 MiB", "64 KiB", "█"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-sizes 12x", `"12x": want bytes from 1 to 64MiB`},
		{"-sizes 0", `"0": want`},
		{"-sizes 65MiB", `"65MiB": want`},
		{"-sizes 64,", `"": want`},
		{"-time 0s", `"0s" for flag -time: want a duration of more than 0`},
		{"-time 2h", "at most 1m"},
		{"-time soon", "such as 100ms"},
		{"-paths (", "want a regular expression"},
		{"-paths nothing", "matches none of shm.Ring,"},
		{"more", `argument "more"`},
	} {
		_, err := parse(strings.Fields(c.args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
	if _, err := parse([]string{"-help"}, io.Discard); err != flag.ErrHelp {
		t.Errorf("-help: %v", err)
	}
	o, err := parse([]string{"-sizes", "1, 4KiB,64MiB", "-time", "1s", "-paths", "mq"}, io.Discard)
	if err != nil || !slices.Equal(o.sizes, []int{1, 4096, 64 << 20}) || o.time != time.Second || len(o.paths) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{duration(7), "7ns"}, {duration(1234), "1.23µs"}, {duration(56.7e6), "56.7ms"}, {duration(8e9), "8.00s"},
		{quantity(999, 1000, ""), "999"}, {quantity(1.5e6, 1000, "B"), "1.50MB"}, {quantity(2e12, 1000, ""), "2000G"},
		{sizeText(64), "64 B"}, {sizeText(4096), "4 KiB"}, {sizeText(3 << 20), "3 MiB"}, {sizeText(1025), "1025 B"},
		{bar(1, 1, 100), "█"}, {bar(100, 1, 100), strings.Repeat("█", 20)}, {bar(10, 1, 100), "██████████▌"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// A path whose partner dies is an error with a reason, not a hang.
func TestSessionPartnerDies(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	pls, _, err := placements()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSession(ctx, paths[0], pls[0])
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.sides[1].proc.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := paths[0].measure(s, 64, pls[0], time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v, want one that says killed", err)
	}
}
