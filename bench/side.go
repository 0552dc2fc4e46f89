package main

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"

	"golang.org/x/sys/unix"
)

// sideArgs is what a measuring process gets: its side of the path, and the
// line on which it is told what to do.
type sideArgs struct {
	Link    link
	Control *pipe.Conn
}

// A command is one loop of N messages of Size bytes.
type command struct {
	Op   string // "ping", "echo", "source", "sink", "pids"
	Size int
	N    int
}

// A reply says how a command went.
type reply struct {
	Err        string
	Start, End int64 // CLOCK_MONOTONIC, ns: the same in all processes
	CPU        int64 // ns of CPU time, user and system
	RTT        hist
	Pids       []int
}

var side = proc.Register("bench.side", func(_ context.Context, a sideArgs) error {
	e, err := a.Link.open()
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(&a.Link) // ends have only pointers into its memory
	in, out := gob.NewDecoder(a.Control), gob.NewEncoder(a.Control)
	for {
		var c command
		if err := in.Decode(&c); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var r reply
		if err := r.run(e, c); err != nil {
			r.Err = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
})

func (r *reply) run(e end, c command) error {
	buf := make([]byte, c.Size)
	cpu, err := cpuOf(e)
	if err != nil {
		return err
	}
	r.Start = monotonic()
	switch c.Op {
	case "ping":
		err = r.ping(e, buf, c.N)
	case "echo":
		for i := 0; i < c.N && err == nil; i++ {
			if err = e.recv(buf); err == nil {
				err = e.send(buf)
			}
		}
	case "source":
		for i := 0; i < c.N && err == nil; i++ {
			err = e.send(buf)
		}
	case "sink":
		for i := 0; i < c.N && err == nil; i++ {
			err = e.recv(buf)
		}
	case "pids":
		r.Pids = []int{pidOfThis()}
		if p, ok := e.(*poolEnd); ok {
			var pid int
			pid, err = workerPid.Call(bg, p.p, struct{}{})
			r.Pids = append(r.Pids, pid)
		}
	default:
		err = fmt.Errorf("bench: command %q", c.Op)
	}
	r.End = monotonic()
	if err != nil {
		return err
	}
	after, err := cpuOf(e)
	r.CPU = after - cpu
	return err
}

// cpuOf is what this process has used so far, with the worker of a pool.
func cpuOf(e end) (int64, error) {
	if p, ok := e.(*poolEnd); ok {
		worker, err := workerCPU.Call(bg, p.p, struct{}{})
		return worker + cpuTime(), err
	}
	return cpuTime(), nil
}

// ping measures each round trip. One reading of the clock, about 25 ns, is in
// each.
func (r *reply) ping(e end, buf []byte, n int) error {
	start := time.Now()
	last := time.Duration(0)
	for range n {
		if err := e.send(buf); err != nil {
			return err
		}
		if err := e.recv(buf); err != nil {
			return err
		}
		now := time.Since(start)
		r.RTT.add(now - last)
		last = now
	}
	return nil
}

func pidOfThis() int { return os.Getpid() }

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("bench: clock_gettime: " + err.Error())
	}
	return ts.Nano()
}

func cpuTime() int64 {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		panic("bench: getrusage: " + err.Error())
	}
	return ru.Utime.Nano() + ru.Stime.Nano()
}
