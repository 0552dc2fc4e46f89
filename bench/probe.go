package main

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// lineProbe is a cache line that goes there and back, with nothing round it:
// what spinning costs on these two CPUs at this moment, and so the floor of
// every row that spins.
var lineProbe = &path{name: "cache-line", impl: "probe", fixed: 4, spins: true, needsTwo: true,
	make: func() (*link, *link, error) {
		a, b, err := wordLinks()
		if err != nil {
			return nil, nil, err
		}
		a.Kind, b.Kind = "line", "line"
		return a, b, nil
	}}

type lineEnd struct {
	out, in *atomic.Uint32
	seen    uint32
}

func (e *lineEnd) send([]byte) error { e.out.Add(1); return nil }

func (e *lineEnd) recv([]byte) error {
	for looks := 1; e.in.Load() == e.seen; looks++ {
		if looks%(1<<14) == 0 {
			unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // the other may have lost its CPU to a third
		}
	}
	e.seen++
	return nil
}
