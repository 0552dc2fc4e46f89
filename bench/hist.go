package main

import (
	"math/bits"
	"time"
)

// hist counts durations in buckets less than 1% wide: exact below 128 ns, then
// 128 buckets for each power of two.
type hist struct {
	Counts []uint32
	Total  uint64
}

const subBuckets = 128

func bucketOf(ns int64) int {
	v := uint64(max(ns, 0))
	if v < subBuckets {
		return int(v)
	}
	exp := bits.Len64(v) - 8
	return (exp+1)*subBuckets + int(v>>exp) - subBuckets
}

// bucketMid is the duration in the middle of a bucket.
func bucketMid(b int) float64 {
	if b < subBuckets {
		return float64(b)
	}
	exp := b/subBuckets - 1
	low := uint64(b%subBuckets+subBuckets) << exp
	return float64(low) + float64(uint64(1)<<exp-1)/2
}

func (h *hist) add(d time.Duration) {
	if h.Counts == nil {
		h.Counts = make([]uint32, 58*subBuckets)
	}
	h.Counts[bucketOf(int64(d))]++
	h.Total++
}

func (h *hist) merge(o hist) {
	if h.Counts == nil {
		h.Counts = make([]uint32, 58*subBuckets)
	}
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
	h.Total += o.Total
}

// quantile is the duration in ns that a part q of all is not longer than.
func (h *hist) quantile(q float64) float64 {
	rank := uint64(q * float64(h.Total))
	var seen uint64
	for i, n := range h.Counts {
		if seen += uint64(n); seen > rank || seen == h.Total && n > 0 {
			return bucketMid(i)
		}
	}
	return 0
}
