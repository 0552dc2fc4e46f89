package main

import "time"

// A result is one row: what a path does with messages of one size.
type result struct {
	Path      string   `json:"path"`
	Impl      string   `json:"impl"`
	Size      int      `json:"size_bytes"`
	Placement string   `json:"placement"`
	RTT       rttStats `json:"rtt_ns"`
	Msgs      float64  `json:"msgs_per_s"`
	Bytes     float64  `json:"bytes_per_s"`
	CPU       float64  `json:"cpu_ns_per_msg"`
	Pids      []int    `json:"pids"`

	// Only of rounds.
	Rounds    int        `json:"rounds,omitempty"`
	RTTRange  [2]float64 `json:"rtt_p50_min_max,omitzero"`
	MsgsRange [2]float64 `json:"msgs_min_max,omitzero"`
	Noisy     bool       `json:"noisy,omitempty"`
	Line      float64    `json:"cache_line_ns,omitempty"` // the probe, beside a row that spins
	C         *ratio     `json:"beside_c,omitempty"`
	Python    *ratio     `json:"beside_python,omitempty"`
}

type rttStats struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	N    uint64  `json:"n"`
}

// A runner is a path in use, between whatever processes.
type runner interface {
	// loop runs a pair of loops with n messages.
	loop(size, n int, opA, opB string) (tally, hist, error)
	ids() []int // the processes
	close()
}

// measure fills a row, taking about budget for each of its two loops.
func (p *path) measure(s runner, size int, pl placement, budget time.Duration) (*result, error) {
	r := &result{Path: p.name, Impl: p.impl, Size: size, Placement: pl.name, Pids: s.ids()}
	var rtt hist
	ping, err := repeat(s, size, budget, "ping", "echo", &rtt)
	if err != nil {
		return nil, err
	}
	r.RTT = rttStats{rtt.quantile(.5), rtt.quantile(.99), rtt.quantile(.999), rtt.Total}
	stream := ping
	if p.fixed == 0 && !p.calls {
		if stream, err = repeat(s, size, budget, "source", "sink", nil); err != nil {
			return nil, err
		}
	} else {
		stream.msgs *= 2 // a round trip is one message each way
	}
	r.Msgs = float64(stream.msgs) / stream.elapsed.Seconds()
	r.Bytes = r.Msgs * float64(size)
	r.CPU = float64(stream.cpu) / float64(stream.msgs)
	return r, nil
}

type tally struct {
	msgs    int
	elapsed time.Duration
	cpu     int64
}

// repeat runs a pair of loops, first to warm up and to learn how long one pass
// takes, then in chunks until budget is used.
func repeat(s runner, size int, budget time.Duration, opA, opB string, rtt *hist) (t tally, err error) {
	n, warm := 4, false
	if size > 1<<20 {
		n = 1
	}
	for t.elapsed < budget {
		one, h, err := s.loop(size, n, opA, opB)
		if err != nil {
			return t, err
		}
		if warm {
			t.msgs += one.msgs
			t.elapsed += one.elapsed
			t.cpu += one.cpu
			if rtt != nil {
				rtt.merge(h)
			}
		}
		// The next chunk is a quarter of the budget, but grows eightfold at
		// most: the first passes are slower than the rest.
		warm = warm || one.elapsed > budget/16 || n > 1<<20
		n = max(1, min(8*n, int(float64(n)*float64(budget/4)/float64(one.elapsed+1))))
	}
	return t, nil
}
