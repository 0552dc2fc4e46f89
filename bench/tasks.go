package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/pool"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// tasks are the costs that -all lists.
var tasks = allTasks()

func allTasks() (ts []*task) {
	ts = append(ts, alone("futex.Mutex", "Lock+Unlock", func(p *parts) func() error {
		return func() error { p.Mutex.Lock(); p.Said[0]++; p.Mutex.Unlock(); return nil }
	}), alone("futex.RobustMutex", "Lock+Unlock", func(p *parts) func() error {
		return func() error { p.Robust.Lock(); return p.Robust.Unlock() }
	}), alone("futex.RecursiveMutex", "Lock+Unlock", func(p *parts) func() error {
		o := futex.NewOwner()
		return func() error { p.Recursive.Lock(o); return p.Recursive.Unlock(o) }
	}), alone("futex.RWMutex", "Lock+Unlock", func(p *parts) func() error {
		return func() error { p.RW.Lock(); return p.RW.Unlock() }
	}), alone("futex.RWMutex", "RLock+RUnlock", func(p *parts) func() error {
		return func() error { p.RW.RLock(); return p.RW.RUnlock() }
	}), alone("futex.Semaphore", "Release+Acquire", func(p *parts) func() error {
		return func() error { p.SemA.Release(); return p.SemA.Acquire(bg) }
	}), alone("futex.Event", "Set+Wait+Reset", func(p *parts) func() error {
		return func() error { p.EventA.Set(); err := p.EventA.Wait(bg); p.EventA.Reset(); return err }
	}), alone("futex.Cond", "Signal of nobody", func(p *parts) func() error { return p.Cond.Signal }))
	ts = append(ts, &task{name: "shm.Value", with: "Load", anywhere: true, run: value(func(v *shm.Value[int64]) error { v.Load(); return nil })},
		&task{name: "shm.Value", with: "Add", anywhere: true, run: value(func(v *shm.Value[int64]) error { _, err := shm.Add(v, 1); return err })},
		&task{name: "futex.RobustMutex", with: "kill to ErrOwnerDead", run: func(ctx context.Context, pl placement, _ time.Duration) (float64, error) {
			return ownerDeath(ctx, pl)
		}},
		&task{name: "proc", with: "Start to first line", run: startTo(true)},
		&task{name: "proc", with: "Start+Wait", run: startTo(false)},
		&task{name: "pool.Map", with: "a trivial task", run: mapped(trivial, 1000)},
		&task{name: "pool.Map", with: "a task of 1 ms", run: mapped(oneMS, 16)},
		&task{name: "pool", with: "kill to the next result", run: recovery},
		&task{name: "pool", with: "RSS of an idle worker", unit: "bytes", anywhere: true, run: workerMemory("Rss:")},
		&task{name: "pool", with: "of that private", unit: "bytes", anywhere: true, run: workerMemory("Private_")},
		size("shm.Queue", "1024 × 64 B", shm.QueueSize[slot](1024)), size("shm.MessageQueue", "64 KiB", shm.MessageQueueSize(64<<10)),
		size("shm.Value", "8 B", shm.ValueSize[int64]()))
	for _, lock := range []string{"mutex", "robust"} {
		for n := 2; n <= 32; n *= 2 {
			ts = append(ts, growth("lock by processes", "futex."+map[string]string{"mutex": "Mutex", "robust": "RobustMutex"}[lock], n, n, 0, lock))
		}
	}
	for n := 1; n <= 32; n *= 2 {
		ts = append(ts, growth("message by processes", "shm.Queue N×1", n, n, 1, "send"))
	}
	for n := 1; n <= 32; n *= 2 {
		ts = append(ts, growth("message by processes", "shm.Queue 1×N", n, 1, n, "send"))
	}
	for n := 1; n <= 16; n *= 2 {
		ts = append(ts, growth("message by processes", "shm.Queue N×N", n, n, n, "send"))
	}
	for n := 1; n <= 10000; n *= 10 {
		ts = append(ts, &task{name: "wake by waiters", with: "futex.Wake of one", x: float64(n), anywhere: true,
			run: func(ctx context.Context, _ placement, _ time.Duration) (float64, error) { return wakeAmong(ctx, n) }})
	}
	return ts
}

// alone measures what one process does with nobody in its way.
func alone(name, with string, f func(*parts) func() error) *task {
	return &task{name: name, with: with, anywhere: true, run: func(_ context.Context, _ placement, budget time.Duration) (float64, error) {
		p, err := newParts(1)
		if err != nil {
			return 0, err
		}
		defer p.Close()
		return perOp(budget, f(p.Ptr()))
	}}
}

func value(f func(*shm.Value[int64]) error) func(context.Context, placement, time.Duration) (float64, error) {
	return func(_ context.Context, _ placement, budget time.Duration) (float64, error) {
		v, err := shm.NewValue[int64](0)
		if err != nil {
			return 0, err
		}
		defer v.Close()
		return perOp(budget, func() error { return f(v) })
	}
}

func size(name, with string, bytes int) *task {
	return &task{name: name, with: with, unit: "bytes", anywhere: true,
		run: func(context.Context, placement, time.Duration) (float64, error) { return float64(bytes), nil }}
}

// growth is the cost of one operation for x processes on each side.
func growth(name, with string, x, doers, receivers int, do string) *task {
	var members []string
	for i := range max(doers, receivers) {
		if i < doers {
			members = append(members, do)
		}
		if i < receivers {
			members = append(members, "recv")
		}
	}
	return &task{name: name, with: with, x: float64(x), run: func(ctx context.Context, pl placement, budget time.Duration) (float64, error) {
		// More with more processes, or waking them all is most of it: 0.1 ms each,
		// until the last has its first slice of a CPU.
		total := max(20000*x, int(budget/time.Microsecond))
		return team(ctx, pl, (total/doers+31)/32*32, members...)
	}}
}

var firstLine = proc.Register("bench.first", func(_ context.Context, p *shm.Shared[parts]) error {
	p.Ptr().Begin[0] = monotonic()
	return nil
})

func startTo(line bool) func(context.Context, placement, time.Duration) (float64, error) {
	return func(ctx context.Context, pl placement, _ time.Duration) (float64, error) {
		p, err := newParts(1)
		if err != nil {
			return 0, err
		}
		defer p.Close()
		start := monotonic()
		child, err := firstLine.StartCmd(ctx, &proc.Cmd{CPUs: pl.b}, p)
		if err != nil {
			return 0, err
		}
		defer child.Release()
		_, err = child.Wait(ctx)
		end := monotonic()
		if line {
			end = p.Ptr().Begin[0]
		}
		return float64(end - start), err
	}
}

var (
	trivial = pool.Register("bench.trivial", func(_ context.Context, n int) (int, error) { return n, nil })
	oneMS   = pool.Register("bench.1ms", func(_ context.Context, n int) (int, error) {
		for start := time.Now(); time.Since(start) < time.Millisecond; { // work, not sleep
		}
		return n, nil
	})
	die = pool.Register("bench.die", func(context.Context, int) (int, error) {
		return 0, syscall.Kill(os.Getpid(), syscall.SIGKILL)
	})
)

// mapped is the time of one of n tasks. Workers are two, or where the placement
// puts them.
func mapped(f *pool.Func[int, int], n int) func(context.Context, placement, time.Duration) (float64, error) {
	return func(ctx context.Context, pl placement, _ time.Duration) (float64, error) {
		p, err := pool.New(&pool.Config{Workers: 2, CPUs: pl.b})
		if err != nil {
			return 0, err
		}
		defer p.Close()
		if _, err := trivial.Map(ctx, p, make([]int, 8)); err != nil {
			return 0, err
		}
		start := time.Now()
		_, err = f.Map(ctx, p, make([]int, n))
		return float64(time.Since(start)) / float64(n), err
	}
}

// recovery is the time from the call that kills the only worker until the next
// one has its result.
func recovery(ctx context.Context, pl placement, _ time.Duration) (float64, error) {
	p, err := pool.New(&pool.Config{Workers: 1, CPUs: pl.b})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	if _, err := trivial.Call(ctx, p, 1); err != nil {
		return 0, err
	}
	start := time.Now()
	var dead *pool.WorkerError
	if _, err := die.Call(ctx, p, 1); !errors.As(err, &dead) {
		return 0, fmt.Errorf("bench: a worker that was killed: %v", err)
	}
	_, err = trivial.Call(ctx, p, 1)
	return float64(time.Since(start)), err
}

// workerMemory adds up the fields of a worker's smaps_rollup that begin so.
func workerMemory(field string) func(context.Context, placement, time.Duration) (float64, error) {
	return func(ctx context.Context, _ placement, _ time.Duration) (float64, error) {
		p, err := pool.New(&pool.Config{Workers: 1})
		if err != nil {
			return 0, err
		}
		defer p.Close()
		pid, err := workerPid.Call(ctx, p, struct{}{})
		if err != nil {
			return 0, err
		}
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		sum := 0
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, field) {
				kB, err := strconv.Atoi(strings.Fields(line)[1])
				if err != nil {
					return 0, err
				}
				sum += kB << 10
			}
		}
		return float64(sum), nil
	}
}
