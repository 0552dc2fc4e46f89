package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"
)

// A session is two processes joined by a path, ready for loops.
type session struct {
	path   *path
	sides  []*sideProcess // one if the path makes its own partner
	pids   []int
	watch  sync.WaitGroup
	mu     sync.Mutex
	closed bool
	died   error         // how the first process ended that was not told to
	gone   chan struct{} // closed when died is known
}

type sideProcess struct {
	proc    *proc.Process
	control *pipe.Conn
	enc     *gob.Encoder
	dec     *gob.Decoder
}

// newSession starts the processes. ctx ends them.
func newSession(ctx context.Context, p *path, pl placement) (_ *session, err error) {
	a, b, err := p.make()
	if err != nil {
		return nil, err
	}
	s := &session{path: p, gone: make(chan struct{})}
	defer func() {
		a.close() // the processes have theirs
		if b != nil {
			b.close()
		}
		if err != nil {
			s.close()
		}
	}()
	a.WorkerCPUs = pl.b
	cpus := pl.a
	if a.Kind == "chan" { // one process on the CPUs of both
		cpus = append(cpus[:len(cpus):len(cpus)], pl.b...)
		slices.Sort(cpus)
		cpus = slices.Compact(cpus)
	}
	if err := s.start(ctx, "a", *a, cpus); err != nil {
		return nil, err
	}
	if b != nil {
		if err := s.start(ctx, "b", *b, pl.b); err != nil {
			return nil, err
		}
	}
	rs, err := s.do(command{Op: "pids"}, command{Op: "pids"})
	if err != nil {
		return nil, err
	}
	for _, r := range rs {
		s.pids = append(s.pids, r.Pids...)
	}
	return s, nil
}

func (s *session) start(ctx context.Context, name string, l link, cpus []int) error {
	ours, theirs, err := pipe.Pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := &proc.Cmd{Name: "bench side " + name, CPUs: cpus, WaitDelay: time.Millisecond}
	p, err := side.StartCmd(ctx, cmd, sideArgs{Link: l, Control: theirs})
	if err != nil {
		ours.Close()
		return err
	}
	s.sides = append(s.sides, &sideProcess{p, ours, gob.NewEncoder(ours), gob.NewDecoder(ours)})
	s.watch.Go(func() { s.ended(p.Wait(context.Background())) })
	return nil
}

// ended notes the end of a process. Its partner may wait for it for ever, so
// both go.
func (s *session) ended(state *proc.State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.died != nil {
		return
	}
	if s.died = err; err == nil {
		s.died = fmt.Errorf("bench: a process ended: %v", state)
	}
	close(s.gone)
	for _, p := range s.sides {
		p.control.Close()
	}
}

// close ends the processes and waits for them.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, p := range s.sides {
		p.control.Close()
		p.proc.Kill()
	}
	s.watch.Wait()
	for _, p := range s.sides {
		p.proc.Release()
	}
}

// do gives each process its command and collects the replies.
func (s *session) do(commands ...command) ([]reply, error) {
	rs := make([]reply, len(s.sides))
	// The receiving side comes first: it should wait when the other begins.
	for i := len(s.sides) - 1; i >= 0; i-- {
		if err := s.sides[i].enc.Encode(commands[i]); err != nil {
			return nil, s.lost(err)
		}
	}
	for i := range rs {
		if err := s.sides[i].dec.Decode(&rs[i]); err != nil {
			return nil, s.lost(err)
		}
		if rs[i].Err != "" {
			return nil, errors.New(rs[i].Err)
		}
	}
	return rs, nil
}

// lost is the error for a side that no longer answers: how it ended, if that
// is why.
func (s *session) lost(err error) error {
	select {
	case <-s.gone:
		return s.died
	case <-time.After(time.Second):
		return fmt.Errorf("bench: %s: %w", s.path.name, err)
	}
}

// loop runs one pair of loops with n messages.
func (s *session) loop(size, n int, opA, opB string) (tally, hist, error) {
	rs, err := s.do(command{opA, size, n}, command{opB, size, n})
	if err != nil {
		return tally{}, hist{}, err
	}
	t := tally{msgs: n}
	end := rs[0].End
	for _, r := range rs {
		end = max(end, r.End)
		t.cpu += r.CPU
	}
	t.elapsed = time.Duration(end - rs[0].Start)
	return t, rs[0].RTT, nil
}

func (s *session) ids() []int { return s.pids }
