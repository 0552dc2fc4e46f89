package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// A member is one of the processes that begin together and each do the same, or
// send and receive.
type member struct {
	Parts *shm.Shared[parts]
	Queue *shm.Queue[slot]
	Do    string
	Index int
	N     int
}

var teamWork = proc.Register("bench.team", func(_ context.Context, m member) error {
	p := m.Parts.Ptr()
	do, err := m.action(p)
	if err != nil {
		return err
	}
	if _, err := p.Meet.Wait(bg); err != nil {
		return err
	}
	p.Begin[m.Index] = monotonic()
	for range m.N {
		if err := do(); err != nil {
			return err
		}
	}
	p.End[m.Index] = monotonic()
	return nil
})

func (m *member) action(p *parts) (func() error, error) {
	var msg slot
	switch m.Do {
	case "mutex":
		return func() error { p.Mutex.Lock(); p.Said[0]++; p.Mutex.Unlock(); return nil }, nil
	case "robust":
		return func() error { return errors.Join(p.Robust.Lock(), p.Robust.Unlock()) }, nil
	case "send":
		return func() error { return m.Queue.Send(bg, msg) }, nil
	case "recv":
		return func() error { _, err := m.Queue.Recv(bg); return err }, nil
	}
	return nil, fmt.Errorf("bench: a member that does %q", m.Do)
}

// team runs what each of do says, per process n times, and is the ns that one
// of all operations took. Members with even numbers go where a of the placement
// is.
func team(ctx context.Context, pl placement, n int, do ...string) (float64, error) {
	p, err := newParts(len(do))
	if err != nil {
		return 0, err
	}
	defer p.Close()
	q, err := shm.NewQueue[slot](1024)
	if err != nil {
		return 0, err
	}
	defer q.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ps []*proc.Process
	defer func() {
		for _, p := range ps {
			p.Kill()
			p.Wait(context.Background())
			p.Release()
		}
	}()
	total := 0
	for i, what := range do {
		count := n
		if k := len(slices.DeleteFunc(slices.Clone(do), func(s string) bool { return s != "recv" })); what == "recv" {
			count = n * (len(do) - k) / k // all that is sent
		} else {
			total += n
		}
		cpus := pl.a
		if i%2 == 1 {
			cpus = pl.b
		}
		one, err := teamWork.StartCmd(ctx, &proc.Cmd{CPUs: cpus}, member{p, q, what, i, count})
		if err != nil {
			return 0, err
		}
		ps = append(ps, one)
	}
	for _, one := range ps {
		if state, err := one.Wait(ctx); err != nil {
			return 0, fmt.Errorf("bench: %v: %w", state, err)
		}
	}
	at := p.Ptr()
	return float64(slices.Max(at.End[:len(do)])-slices.Min(at.Begin[:len(do)])) / float64(total), nil
}

// A held lock is what a process has when it is killed.
var holdRobust = proc.Register("bench.hold", func(ctx context.Context, p *shm.Shared[parts]) error {
	if err := p.Ptr().Robust.Lock(); err != nil {
		return err
	}
	p.Ptr().Ready.Store(1)
	futex.Wake(&p.Ptr().Ready, 1)
	<-ctx.Done()
	return nil
})

// ownerDeath is the time from the kill of a lock's owner until one who sleeps
// on the lock has ErrOwnerDead.
func ownerDeath(ctx context.Context, pl placement) (float64, error) {
	p, err := newParts(1)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	child, err := holdRobust.StartCmd(ctx, &proc.Cmd{CPUs: pl.b}, p)
	if err != nil {
		return 0, err
	}
	defer func() {
		child.Kill()
		child.Wait(context.Background())
		child.Release()
	}()
	for p.Ptr().Ready.Load() == 0 {
		if err := futex.WaitContext(ctx, &p.Ptr().Ready, 0); err != nil {
			return 0, err
		}
	}
	begun := make(chan int64, 1)
	go func() {
		sleepFor(5e6) // until the waiter below sleeps
		begun <- monotonic()
		child.Kill()
	}()
	if err := p.Ptr().Robust.LockContext(ctx); !errors.Is(err, futex.ErrOwnerDead) {
		return 0, fmt.Errorf("bench: a dead owner's lock gives %v", err)
	}
	end := monotonic()
	if err := p.Ptr().Robust.MarkConsistent(); err != nil {
		return 0, err
	}
	return float64(end - <-begun), p.Ptr().Robust.Unlock()
}
