package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	rs := func(rtts ...float64) (rs []*result) {
		for _, v := range rtts {
			rs = append(rs, &result{Size: 10, RTT: rttStats{v, 2 * v, 3 * v, 7}, Msgs: 1e9 / v, CPU: v / 2})
		}
		return rs
	}
	m := median(rs(100, 900, 104, 96, 98))
	if m.RTT != (rttStats{100, 200, 300, 35}) || m.RTTRange != [2]float64{96, 900} || m.Msgs != 1e7 ||
		m.Bytes != 1e8 || m.MsgsRange[1] != 1e9/96 || m.CPU != 50 || m.Rounds != 5 || m.Noisy {
		t.Errorf("%+v", m)
	}
	if m := median(rs(100, 300)); m.RTT.P50 != 200 || !m.Noisy {
		t.Errorf("of two: %+v", m)
	}
	if m := median(rs(100)); m.RTT.P50 != 100 || m.Noisy {
		t.Errorf("of one: %+v", m)
	}
	if !median(rs(100, 60, 100, 140, 130, 70, 100)).Noisy {
		t.Error("half of the rounds are 40% apart, and the row isn't noisy")
	}
	// A round that disturbs both alike leaves their ratio alone.
	other := &entry{path: &path{name: "o"}, rows: map[int][]*result{10: rs(50, 450, 52, 48, 49)}}
	ours := &entry{path: &path{name: "e"}, rows: map[int][]*result{10: rs(100, 900, 104, 96, 98), 11: rs(1)}}
	r := ours.ratioTo(other, 10)
	if r == nil || r.RTT != .5 || r.Msgs < .499 || r.Msgs > .501 {
		t.Errorf("ratio %v", r)
	}
	if ours.ratioTo(nil, 10) != nil || ours.ratioTo(other, 11) != nil {
		t.Error("a ratio to nothing")
	}
	other.path.calls = true
	if r := ours.ratioTo(other, 10); r.Msgs != 0 || r.String() != "0.50 -" {
		t.Errorf("calls beside a stream: %v", r)
	}
}

// Rounds give one row for each path, size and placement, and the probe where
// the CPUs are two.
func TestRunRounds(t *testing.T) {
	var out bytes.Buffer
	args := strings.Fields("-json -rounds 3 -time 1ms -sizes 64,4KiB -paths ^shm.Ring$|^eventfd$|^pool")
	if err := run(context.Background(), args, &out, io.Discard); err != nil {
		t.Error(err)
	}
	seen := map[string]int{}
	for dec := json.NewDecoder(&out); dec.More(); {
		var r result
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		seen[r.Placement+" "+r.Path]++
		if r.Rounds != 3 || r.RTTRange[0] <= 0 || r.RTT.P50 < r.RTTRange[0] || r.RTT.P50 > r.RTTRange[1] ||
			r.Msgs < r.MsgsRange[0] || r.Msgs > r.MsgsRange[1] || r.MsgsRange[0] <= 0 {
			t.Errorf("%+v", r)
		}
		if spins := r.Path == "shm.Ring" || r.Path == "cache-line"; (r.Line > 0) != (spins && r.Placement == "two-cpus") &&
			r.Placement != "siblings" && r.Placement != "two-sockets" {
			t.Errorf("%s, %s: a cache line in %v ns", r.Path, r.Placement, r.Line)
		}
	}
	pls, _, err := allPlacements()
	if err != nil {
		t.Fatal(err)
	}
	for _, pl := range pls {
		for name, want := range map[string]int{"shm.Ring": 2, "eventfd": 1, "pool.Call": 2, "cache-line": 1} {
			if name == "cache-line" && (!pl.apart() || len(pl.a) == 0) {
				want = 0
			}
			if got := seen[pl.name+" "+name]; got != want {
				t.Errorf("%s, %s: %d rows, want %d", pl.name, name, got, want)
			}
		}
	}
}

// A path that fails is named with its reason, and the others go on.
func TestRoundsFailure(t *testing.T) {
	bad := &path{name: "bad", impl: "test", open: func(context.Context, placement) (runner, error) { return nil, io.ErrNoProgress }}
	dies := &path{name: "dies", impl: "test", open: func(context.Context, placement) (runner, error) { return dying{}, nil }}
	good := paths[len(paths)-2]
	pls, _, err := placements()
	if err != nil {
		t.Fatal(err)
	}
	rows, failed := play(t.Context(), pls[0], []*path{bad, dies, good}, &options{sizes: []int{64}, rounds: 2, time: 1e6}, &progress{})
	if len(rows) != 1 || rows[0].Path != good.name || len(failed) != 2 ||
		!strings.Contains(failed[0], "bad (test)") || !strings.Contains(failed[1], io.ErrClosedPipe.Error()) {
		t.Errorf("%d rows, failed %q", len(rows), failed)
	}
}

type dying struct{}

func (dying) loop(int, int, string, string) (tally, hist, error) {
	return tally{}, hist{}, io.ErrClosedPipe
}
func (dying) ids() []int { return nil }
func (dying) close()     {}
