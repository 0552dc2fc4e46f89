package main

import (
	"fmt"
	"testing"
	"time"
)

var testSizes = []int{64, 4 << 10, 64 << 10, 1 << 20}

// The rows of the table under names for benchstat:
// PingPong/path=shm.Ring/size=64/placement=two-cpus.
func BenchmarkPingPong(b *testing.B) {
	benchmark(b, "ping", "echo", func(*path) bool { return true })
}

// Stream sends in one direction as fast as it goes.
func BenchmarkStream(b *testing.B) {
	benchmark(b, "source", "sink", func(p *path) bool { return p.fixed == 0 && !p.calls })
}

func benchmark(b *testing.B, opA, opB string, fits func(*path) bool) {
	pls, note, err := placements()
	if err != nil {
		b.Fatal(err)
	}
	if note != "" {
		b.Log(note)
	}
	for _, p := range append(paths, morePaths...) {
		if !fits(p) {
			continue
		}
		for _, size := range p.sizesOf(testSizes) {
			for _, pl := range pls {
				name := fmt.Sprintf("path=%s/size=%d/placement=%s", p.name, size, pl.name)
				b.Run(name, func(b *testing.B) {
					s, err := newSession(b.Context(), p, pl)
					if err != nil {
						b.Fatal(err)
					}
					defer s.close()
					if _, _, err := s.loop(size, 10, opA, opB); err != nil {
						b.Fatal(err)
					}
					t, rtt, err := s.loop(size, b.N, opA, opB)
					if err != nil {
						b.Fatal(err)
					}
					b.SetBytes(int64(size))
					b.ReportMetric(float64(t.elapsed)/float64(b.N), "ns/op")
					b.ReportMetric(float64(t.cpu)/float64(b.N), "cpu-ns/op")
					if rtt.Total > 0 {
						b.ReportMetric(rtt.quantile(.5), "p50-ns")
						b.ReportMetric(rtt.quantile(.99), "p99-ns")
					}
				})
			}
		}
	}
}

// Quantiles are right within the width of a bucket.
func TestHist(t *testing.T) {
	var a, b hist
	for i := 1; i <= 100000; i++ {
		h := &a
		if i%2 == 0 {
			h = &b
		}
		h.add(time.Duration(i) * 7)
	}
	a.merge(b)
	for _, q := range []float64{0, .001, .5, .9, .99, .999, 1} {
		want := max(7, q*700000)
		if got := a.quantile(q); got < want*.99-7 || got > want*1.01+7 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	last := -1
	for ns := int64(0); ns < 1<<40; ns += 1 + ns/300 {
		k := bucketOf(ns)
		if k < last || k > last+1 {
			t.Fatalf("%d ns falls into bucket %d after %d", ns, k, last)
		}
		last = k
		if mid := bucketMid(k); mid < float64(ns)*.99-1 || mid > float64(ns)*1.01+1 {
			t.Fatalf("the middle of %d ns's bucket is %v", ns, mid)
		}
	}
}
