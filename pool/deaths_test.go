package pool_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pool"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

var becomeSleep = pool.Register("becomeSleep", func(context.Context, struct{}) (int, error) {
	signal.Ignore(syscall.SIGTERM) // it may come first
	return 0, syscall.Exec("/bin/sleep", []string{"sleep", "1000"}, nil)
})

// A worker that executes another program has left its rings and lives on: its
// call fails, and the program ends.
func TestWorkerBecomesAnother(t *testing.T) {
	p := poolOf(t, &pool.Config{Workers: 1, WaitDelay: time.Hour})
	var dead *pool.WorkerError
	if _, err := becomeSleep.Go(bg, p, struct{}{}).Wait(within(t)); !errors.As(err, &dead) {
		t.Fatal(err)
	}
	if dead.State.Signal() != syscall.SIGKILL {
		t.Error(dead)
	}
	healthy(t, p, 1)
}

// gone waits until no process of a group runs: who reaps orphans may take his
// time.
func gone(t testing.TB, group int) {
	t.Helper()
	until(t, "the end of all processes of a group", func() bool {
		if syscall.Kill(-group, 0) == syscall.ESRCH {
			return true
		}
		all, err := os.ReadDir("/proc")
		for _, e := range all {
			var state byte
			var parent, pgrp int
			stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
			fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %c %d %d", &state, &parent, &pgrp)
			if pgrp == group && state != 'Z' && state != 'X' {
				return false
			}
		}
		return err == nil
	})
}

var mapsOn = proc.Register("pool_test.mapsOn", func(ctx context.Context, out *os.File) error {
	out.Write([]byte{1})
	p, err := pool.New(&pool.Config{Workers: 2, Spares: 1})
	if err != nil {
		return err
	}
	for {
		if _, err := double.Map(ctx, p, make([]int, 100)); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		sleep.Call(ctx, p, 2*time.Millisecond)
		cancel()
	}
})

// Whoever has a pool may be killed at any time, while it starts workers, calls
// them or gives them up: no worker outlives him.
func TestCase257_OwnerKilledAnyTime(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 6
	}
	for range rounds {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c, err := mapsOn.StartCmd(bg, &proc.Cmd{Sys: &syscall.SysProcAttr{Setpgid: true}}, w)
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		r.SetReadDeadline(time.Now().Add(hang))
		if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Duration(rand.IntN(40_000)) * time.Microsecond)
		c.Kill()
		c.Wait(within(t))
		r.Close()
		gone(t, c.Pid())
	}
}

// nest has a pool of its own, tells its workers' numbers, and lives on.
var nest = pool.Register("nest", func(ctx context.Context, path string) (int, error) {
	p, err := pool.New(&pool.Config{Workers: 2})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	for range 2 {
		sleep.Go(bg, p, time.Hour)
	}
	for p.Stats().Busy < 2 {
		time.Sleep(time.Millisecond)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	for _, w := range p.Stats().Workers {
		binary.Write(f, binary.NativeEndian, int64(w.Pid))
	}
	f.Close()
	<-ctx.Done()
	return 0, ctx.Err()
})

// The parent of a nested pool is killed, or its call cancelled: the pool inside
// ends with it.
func TestNestedParentEnds(t *testing.T) {
	p := newPool(t, 1)
	for _, how := range []string{"killed", "cancelled"} {
		path, f := fifo(t)
		ctx, cancel := context.WithCancel(bg)
		call := nest.Go(ctx, p, path)
		var pids [2]int64
		f.SetReadDeadline(time.Now().Add(hang))
		if err := binary.Read(f, binary.NativeEndian, &pids); err != nil {
			t.Fatal(err)
		}
		if how == "killed" {
			syscall.Kill(p.Stats().Workers[0].Pid, syscall.SIGKILL)
		} else {
			cancel()
		}
		_, err := call.Wait(within(t))
		if cancelled := errors.Is(err, context.Canceled); cancelled != (how == "cancelled") {
			t.Errorf("%s: %v", how, err)
		}
		for _, pid := range pids {
			until(t, "the end of a worker inside", func() bool { return ended(int(pid)) })
		}
		cancel()
		f.Close()
		healthy(t, p, 1)
	}
}

// Calls with little time while workers are killed: each has one outcome, and no
// late reply meets another call.
func TestCase252_CancelsAndKills(t *testing.T) {
	d := 2 * time.Second
	if testing.Short() {
		d = 500 * time.Millisecond
	}
	const size = 3
	p := poolOf(t, &pool.Config{Workers: size, Spares: 1})
	watchdog := time.AfterFunc(d+hang, func() { panic("pool_test: a call hangs") })
	defer watchdog.Stop()
	end := time.Now().Add(d)
	var right, late, died atomic.Int64
	var all sync.WaitGroup
	for c := range size + 1 {
		all.Go(func() {
			for i := c; time.Now().Before(end); i += size + 1 {
				ctx, cancel := context.WithTimeout(bg, time.Duration(rand.IntN(10_000))*time.Microsecond)
				n, err := slowDouble.Call(ctx, p, i)
				cancel()
				switch {
				case err == nil && n == 2*i:
					right.Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					late.Add(1)
				case errors.As(err, new(*pool.WorkerError)):
					died.Add(1)
				default:
					t.Errorf("call %d: %d, %v", i, n, err)
				}
			}
		})
	}
	all.Go(func() {
		for time.Now().Before(end) {
			time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
			if ws := p.Stats().Workers; len(ws) > 0 {
				syscall.Kill(ws[rand.IntN(len(ws))].Pid, syscall.SIGKILL)
			}
		}
	})
	all.Wait()
	healthy(t, p, size+1)
	t.Logf("%d right, %d late, %d died", right.Load(), late.Load(), died.Load())
}

var deaf = pool.Register("deaf", func(context.Context, int) (int, error) { select {} })

// Calls that are given up one after the other, of a function that does not look:
// a place has two processes at most.
func TestTwoProcessesAPlace(t *testing.T) {
	p := poolOf(t, &pool.Config{Workers: 1, WaitDelay: time.Hour})
	for range 6 {
		ctx, cancel := context.WithTimeout(bg, 60*time.Millisecond)
		if _, err := deaf.Call(ctx, p, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		if n := len(p.Stats().Workers); n > 2 {
			t.Errorf("%d processes", n)
		}
	}
}

// From the third on workers die in their Init.
var dieThird = pool.RegisterInit("dieThird", func(_ context.Context, starts *shm.Value[int64]) error {
	if n, err := shm.Add(starts, 1); n > 2 || err != nil {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
})

// While a worker lives a crash loop beside it is no reason to give up: its call
// goes on, and later ones find it. When it has gone, too, the pool is broken.
func TestCase246_CrashLoopBesideABusyWorker(t *testing.T) {
	starts, err := shm.NewValue[int64](0)
	if err != nil {
		t.Fatal(err)
	}
	defer starts.Close()
	p := poolOf(t, &pool.Config{Workers: 2, Init: dieThird.With(starts)})
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	long := untilTold.Go(ctx, p, &shmName{"/dev/null"})
	until(t, "a busy worker", func() bool { return p.Stats().Busy == 1 })
	if _, err := die.Call(within(t), p, int(syscall.SIGKILL)); !errors.As(err, new(*pool.WorkerError)) {
		t.Fatal(err)
	}
	until(t, "many starts", func() bool { return starts.Load() > 2+12 })
	select {
	case <-long.Done():
		_, err := long.Wait(bg)
		t.Fatalf("the call beside: %v", err)
	default:
	}
	cancel()
	if _, err := long.Wait(within(t)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := double.Call(within(t), p, 1); !errors.Is(err, pool.ErrBroken) {
		t.Errorf("with no worker left: %v", err)
	}
}

// ended reports whether a process is no more, or dead and not reaped.
func ended(pid int) bool {
	var state byte
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %c", &state)
	return err != nil || state == 'Z' || state == 'X'
}

var (
	exits *shm.Value[int64]
	leave = pool.RegisterInit("leave", func(_ context.Context, v *shm.Value[int64]) error {
		exits = v
		pool.AtExit(func() { shm.Add(exits, 1) })
		pool.AtExit(func() { // first: then a tenth is there when 1 is added
			time.Sleep(10 * time.Millisecond)
			shm.Add(exits, 1000)
		})
		return nil
	})
)

// Workers that are done with run what they gave to AtExit: with Shutdown, after
// their calls, as one of too many, and after a cancelled call that came back.
func TestShutdownIsGentle(t *testing.T) {
	count, err := shm.NewValue[int64](0)
	if err != nil {
		t.Fatal(err)
	}
	defer count.Close()
	for _, c := range []struct {
		name  string
		cfg   pool.Config
		use   func(p *pool.Pool)
		exits int64
	}{
		{"Shutdown", pool.Config{Workers: 3, Spares: 1}, func(p *pool.Pool) { double.Go(bg, p, 1) }, 4},
		{"MaxCalls", pool.Config{Workers: 1, MaxCalls: 1}, func(p *pool.Pool) {
			double.Call(bg, p, 1)
			until(t, "the next worker", func() bool { return p.Stats().Idle == 1 && p.Stats().Ended == 1 })
		}, 2},
		{"Resize", pool.Config{Workers: 3}, func(p *pool.Pool) { p.Resize(1) }, 3},
		{"cancel", pool.Config{Workers: 1}, func(p *pool.Pool) {
			ctx, cancel := context.WithCancel(bg)
			call := untilTold.Go(ctx, p, &shmName{"/dev/null"})
			until(t, "a busy worker", func() bool {
				ws := p.Stats().Workers
				return len(ws) == 1 && ws[0].Func == "untilTold"
			})
			cancel()
			call.Wait(bg)
			until(t, "the next worker", func() bool { return p.Stats().Idle == 1 && p.Stats().Ended == 1 })
		}, 2},
	} {
		before := count.Load()
		c.cfg.Init = leave.With(count)
		p := poolOf(t, &c.cfg)
		c.use(p)
		if err := p.Shutdown(within(t)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if n := count.Load() - before; n != 1001*c.exits {
			t.Errorf("%s: exits came to %d, want %d", c.name, n, 1001*c.exits)
		}
	}
}

// Shutdown's ctx bounds the workers' end, too.
func TestShutdownInVain(t *testing.T) {
	p := poolOf(t, &pool.Config{Workers: 1, Init: stay.With(0), WaitDelay: time.Hour})
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

var stay = pool.RegisterInit("stay", func(context.Context, int) error {
	pool.AtExit(func() { time.Sleep(time.Hour) })
	return nil
})

// Ctrl-C reaches the workers, too, and is none of their business: calls go on.
func TestCtrlCIsTheCallers(t *testing.T) {
	p := newPool(t, 2)
	gate, open := newGate(t)
	call := gated.Go(within(t), p, gate)
	until(t, "a busy worker", func() bool { return running(p, "gated") != 0 })
	before := p.Stats().Workers
	for _, w := range before {
		syscall.Kill(w.Pid, syscall.SIGINT)
	}
	time.Sleep(100 * time.Millisecond) // for a death that must not be
	open()
	if _, err := call.Wait(within(t)); err != nil {
		t.Error(err)
	}
	for _, w := range before {
		if ended(w.Pid) {
			t.Errorf("worker %d has ended", w.Pid)
		}
	}
}

// A call that is given up in the middle of a large argument or result ends its
// worker at once: that does not wait for the rest.
func TestCancelInTheMiddle(t *testing.T) {
	p := poolOf(t, &pool.Config{Workers: 1, WaitDelay: time.Hour})
	in := make([]byte, 64<<20)
	for i := range 4 {
		var err error
		for tries := 0; err == nil && tries < 50; tries++ { // it may be over before
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			if i%2 == 0 {
				_, err = echo.Call(ctx, p, in)
			} else {
				_, err = large.Call(ctx, p, len(in))
			}
			cancel()
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		healthy(t, p, 1)
	}
}

var large = pool.Register("large", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
