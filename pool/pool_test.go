package pool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pool"
	"github.com/rawipc/rawipc/shm"
)

var bg = context.Background()

// hang bounds a test that could wait for ever; it is not a limit on speed.
const hang = 20 * time.Second

type point struct {
	X, Y int
	Name string
}

var (
	double = pool.Register("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	upper  = pool.Register("upper", func(_ context.Context, s string) (string, error) { return strings.ToUpper(s), nil })
	invert = pool.Register("invert", func(_ context.Context, b []byte) ([]byte, error) {
		for i := range b {
			b[i] = ^b[i]
		}
		return b, nil
	})
	swap = pool.Register("swap", func(_ context.Context, p point) (*point, error) {
		return &point{X: p.Y, Y: p.X, Name: p.Name + "'"}, nil
	})
	pid    = pool.Register("pid", func(context.Context, struct{}) (int, error) { return os.Getpid(), nil })
	refuse = pool.Register("refuse", func(_ context.Context, n int) (int, error) {
		if n == 13 {
			return 0, fmt.Errorf("%d brings bad luck", n)
		}
		return n, nil
	})
	panics   = pool.Register("panics", func(_ context.Context, s string) (int, error) { panicking(s); return 0, nil })
	panicsAt = pool.Register("panicsAt", func(_ context.Context, s string) (int, error) {
		if s != "" {
			panic(s)
		}
		return 0, nil
	})
	die = pool.Register("die", func(_ context.Context, how int) (int, error) {
		switch {
		case how > 0:
			syscall.Kill(os.Getpid(), syscall.Signal(how))
			select {}
		case how < 0:
			os.Exit(-how)
		}
		return how, nil
	})
	sleep = pool.Register("sleep", func(_ context.Context, d time.Duration) (int, error) {
		time.Sleep(d)
		return os.Getpid(), nil
	})
	noGob = pool.Register("noGob", func(_ context.Context, v any) (any, error) { return func() {}, nil })
)

//go:noinline
func panicking(s string) { panic(s) }

func newPool(t testing.TB, workers int) *pool.Pool {
	t.Helper()
	p, err := pool.New(&pool.Config{Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, hang)
	t.Cleanup(cancel)
	return ctx
}

func TestCall(t *testing.T) {
	p, ctx := newPool(t, 2), within(t)
	if n, err := double.Call(bg, p, 21); n != 42 || err != nil {
		t.Errorf("double: %d, %v", n, err)
	}
	if s, err := upper.Call(ctx, p, "größe"); s != "GRÖSSE" && s != "GRÖßE" || err != nil {
		t.Errorf("upper: %q, %v", s, err)
	}
	if s, err := upper.Call(ctx, p, ""); s != "" || err != nil {
		t.Errorf("upper of nothing: %q, %v", s, err)
	}
	if q, err := swap.Call(ctx, p, point{1, 2, "p"}); err != nil || *q != (point{2, 1, "p'"}) {
		t.Errorf("swap: %+v, %v", q, err)
	}
	if n, err := pid.Call(ctx, p, struct{}{}); n == os.Getpid() || n < 2 || err != nil {
		t.Errorf("it ran in process %d, %v; this is %d", n, err, os.Getpid())
	}
}

// A payload may be smaller or larger than the ring by any amount.
func TestCallSizes(t *testing.T) {
	p, ctx := newPool(t, 1), within(t)
	for _, n := range []int{0, 1, 31, 65503, 65504, 65505, 1 << 18, 5<<20 + 7} {
		in := bytes.Repeat([]byte{1, 2, 3}, n/3+1)[:n]
		out, err := invert.Call(ctx, p, in)
		if err != nil || len(out) != n {
			t.Fatalf("%d bytes: %d came back, %v", n, len(out), err)
		}
		for i, b := range out {
			if b != ^in[i] {
				t.Fatalf("%d bytes: byte %d is %d, want %d", n, i, b, ^in[i])
			}
		}
	}
}

func TestMap(t *testing.T) {
	p, ctx := newPool(t, 3), within(t)
	for _, n := range []int{0, 1, 2, 11, 12, 13, 1000} {
		in := make([]int, n)
		for i := range in {
			in[i] = i
		}
		out, err := double.Map(ctx, p, in)
		if err != nil || len(out) != n {
			t.Fatalf("%d: %d results, %v", n, len(out), err)
		}
		for i, v := range out {
			if v != 2*i {
				t.Fatalf("%d: result %d is %d", n, i, v)
			}
		}
	}
	words, err := upper.Map(ctx, p, []string{"a", "", "ccc"})
	if fmt.Sprint(words, err) != "[A  CCC] <nil>" {
		t.Errorf("words: %q, %v", words, err)
	}
}

func TestCase244_TaskErrors(t *testing.T) {
	p, ctx := newPool(t, 1), within(t)
	before, err := pid.Call(ctx, p, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	var task *pool.TaskError
	if _, err := refuse.Call(ctx, p, 13); !errors.As(err, &task) || task.Func != "refuse" ||
		task.Msg != "13 brings bad luck" || task.Stack != nil {
		t.Errorf("an error: %#v", err)
	}
	in := make([]int, 40)
	in[29] = 13
	if _, err := refuse.Map(ctx, p, in); !errors.As(err, &task) || task.Item != 29 {
		t.Errorf("an error in Map: %#v", err)
	}
	if _, err := panics.Call(ctx, p, "ouch"); !errors.As(err, &task) || task.Msg != "panic: ouch" {
		t.Errorf("a panic: %#v", err)
	} else if frame := strings.SplitN(string(task.Stack), "\n", 3)[1]; !strings.Contains(frame, "pool_test.panicking") {
		t.Errorf("on top of the stack stands %q:\n%s", frame, task.Stack)
	}
	words := []string{29: "ouch", 39: ""}
	if _, err := panicsAt.Map(ctx, p, words); !errors.As(err, &task) || task.Item != 29 || task.Stack == nil {
		t.Errorf("a panic in Map, item %d: %v", task.Item, err)
	}
	if _, err := noGob.Call(ctx, p, func() {}); err == nil || errors.As(err, &task) && task.Func != "noGob" {
		t.Errorf("an argument that can't be encoded: %v", err)
	}
	if _, err := noGob.Call(ctx, p, 1); err == nil {
		t.Error("a result that can't be encoded gives no error")
	}
	if after, err := pid.Call(ctx, p, struct{}{}); after != before || err != nil {
		t.Errorf("worker %d, then %d, %v", before, after, err)
	}
}

// A worker that dies in a call fails that call, tells how, and is replaced.
func TestCase243_WorkerDies(t *testing.T) {
	p, ctx := newPool(t, 2), within(t)
	var all sync.WaitGroup
	stop := make(chan struct{})
	var others atomic.Int64
	all.Go(func() { // others go on
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, err := double.Call(ctx, p, 4); n != 8 || err != nil {
				t.Errorf("an innocent call: %d, %v", n, err)
				return
			}
			others.Add(1)
		}
	})
	for _, how := range []int{int(syscall.SIGKILL), int(syscall.SIGSEGV), -3} {
		var dead *pool.WorkerError
		_, err := die.Call(ctx, p, how)
		if !errors.As(err, &dead) || dead.Func != "die" || dead.Pid < 2 || dead.State == nil {
			t.Errorf("%d: %#v", how, err)
			continue
		}
		if how == int(syscall.SIGKILL) && dead.State.Signal() != syscall.SIGKILL {
			t.Errorf("%d: %v", how, dead.State)
		}
		if how < 0 && dead.State.ExitCode() != -how {
			t.Errorf("%d: %v", how, dead.State)
		}
		t.Log(err)
	}
	close(stop)
	all.Wait()
	t.Logf("%d calls meanwhile", others.Load())
	if n, err := double.Map(ctx, p, []int{1, 2, 3, 4, 5}); fmt.Sprint(n, err) != "[2 4 6 8 10] <nil>" {
		t.Errorf("afterwards: %v, %v", n, err)
	}
}

// A worker that is killed while idle fails no call.
func TestWorkerDiesIdle(t *testing.T) {
	p, ctx := newPool(t, 1), within(t)
	for range 5 {
		n, err := pid.Call(ctx, p, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if after, err := pid.Call(ctx, p, struct{}{}); err != nil || after == n {
			t.Errorf("worker %d, then %d, %v", n, after, err)
		}
	}
}

func TestCancel(t *testing.T) {
	p := newPool(t, 1)
	ctx, cancel := context.WithTimeout(bg, 30*time.Millisecond)
	defer cancel()
	if _, err := sleep.Call(ctx, p, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that takes too long: %v", err)
	}
	if n, err := double.Call(within(t), p, 2); n != 4 || err != nil {
		t.Errorf("after it: %d, %v", n, err)
	}
	// One that waits for a worker leaves the line.
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		close(started)
		_, err := sleep.Call(within(t), p, 300*time.Millisecond)
		done <- err
	}()
	<-started
	for range 100 {
		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		_, err := double.Call(ctx, p, 2)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("in line: %v", err)
		}
	}
	if err := <-done; err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if n, err := double.Call(within(t), p, 3); n != 6 || err != nil {
		t.Errorf("after all: %d, %v", n, err)
	}
}

func TestCase249_Closed(t *testing.T) {
	p := newPool(t, 2)
	running := make(chan error, 1)
	go func() { _, err := sleep.Call(bg, p, time.Hour); running <- err }()
	waitBusy(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-running; !errors.Is(err, os.ErrClosed) {
		t.Errorf("a running call: %v", err)
	}
	if _, err := double.Call(bg, p, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a new call: %v", err)
	}
	if _, err := double.Map(bg, p, []int{1}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a new Map: %v", err)
	}
}

// waitBusy returns when one of two workers is in a call.
func waitBusy(t testing.TB, p *pool.Pool) {
	for end := time.Now().Add(hang); ; {
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		var both sync.WaitGroup
		pids := make([]int, 2)
		for i := range pids {
			both.Go(func() { pids[i], _ = sleep.Call(ctx, p, 2*time.Millisecond) })
		}
		both.Wait()
		cancel()
		if pids[0] == pids[1] && pids[0] != 0 {
			return // one worker served both
		}
		if time.Now().After(end) {
			t.Fatal("no worker became busy")
		}
	}
}

func TestShutdown(t *testing.T) {
	p := newPool(t, 1)
	gate, open := newGate(t)
	done := make(chan error, 1)
	go func() { _, err := gated.Call(bg, p, gate); done <- err }()
	until(t, "a busy worker", func() bool { return running(p, "gated") != 0 })
	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a call that runs: %v", err)
	}
	if _, err := double.Call(bg, p, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a new call: %v", err)
	}
	open()
	if err := p.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the call that ran: %v", err)
	}
}

func TestCase241_BadConfig(t *testing.T) {
	if _, err := pool.New(&pool.Config{Workers: -1}); err == nil || !strings.Contains(err.Error(), "-1 workers") {
		t.Errorf("-1 workers: %v", err)
	}
	for want, init := range map[string]pool.Initializer{"": {}, " with Init stay": stay.With(0)} {
		_, err := pool.New(&pool.Config{Workers: 1, CPUs: []int{9999}, Init: init})
		if want = "pool: proc: start rawipc/pool worker" + want + ": CPUs"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("a CPU that is not there: %v, want %s", err, want)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	for _, c := range []struct {
		want string
		f    func()
	}{
		{"the name \"double\" is taken", func() {
			pool.Register("double", func(context.Context, int) (int, error) { return 0, nil })
		}},
		{"A.Files[] is a handle", func() {
			type A struct{ Files []*os.File }
			pool.Register("files", func(context.Context, struct{ A A }) (int, error) { return 0, nil })
		}},
		{"pool: Register: empty name", func() {
			pool.Register("", func(context.Context, int) (int, error) { return 0, nil })
		}},
		{`pool: Register("none"): nil function`, func() { pool.Register[int, int]("none", nil) }},
		{"pool: RegisterInit: empty name", func() {
			pool.RegisterInit("", func(context.Context, int) error { return nil })
		}},
		{`pool: RegisterInit("none"): nil function`, func() { pool.RegisterInit[int]("none", nil) }},
		{"rawipc/pool worker with Init dieLater\": the name is taken", func() {
			pool.RegisterInit("dieLater", func(context.Context, int) error { return nil })
		}},
		{"pool: RegisterError: empty name", func() { pool.RegisterError("", errOdd) }},
		{`pool: RegisterError("none"): nil error`, func() { pool.RegisterError("none", nil) }},
		{`pool: RegisterError("io.EOF"): the name is taken`, func() { pool.RegisterError("io.EOF", errOdd) }},
		{"pool: AtExit: nil function", func() { pool.AtExit(nil) }},
	} {
		func() {
			defer func() {
				if msg := fmt.Sprint(recover()); !strings.Contains(msg, c.want) {
					t.Errorf("panic %q does not say %q", msg, c.want)
				}
			}()
			c.f()
		}()
	}
}

type knot struct {
	F    func()
	Next *knot
}

type outer struct {
	N  int
	In map[string][]*knot
}

type hook struct {
	X    *explosive // has a GobEncode
	Time time.Time  // has a MarshalBinary
	hide chan int
	Next []hook
}

var (
	takesFunc = pool.Register("takesFunc", func(context.Context, outer) (int, error) { return 1, nil })
	givesChan = pool.Register("givesChan", func(context.Context, int) (chan int, error) { panic("it ran") })
	passes    = pool.Register("passes", func(_ context.Context, h hook) (*hook, error) { return &h, nil })
)

// What gob would leave out is told before a function runs; another codec may carry
// it, and what has an encoding of its own is none of gob's.
func TestCannotTravel(t *testing.T) {
	p, q, ctx := newPool(t, 1), poolOf(t, &pool.Config{Workers: 1, Codec: "pool_test.json"}), within(t)
	_, err := takesFunc.Call(ctx, p, outer{})
	if want := "pool: takesFunc: pool_test.outer.In[][].F (func()) is a func: it cannot travel by package gob"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	_, err = givesChan.Map(ctx, p, []int{1})
	if want := "pool: givesChan: chan int (chan int) is a chan: it cannot travel by package gob"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := passes.Call(ctx, p, hook{Next: []hook{{}}, hide: make(chan int)}); err != nil {
		t.Error(err)
	}
	if n, err := takesFunc.Call(ctx, q, outer{N: 1}); n != 1 || err != nil {
		t.Errorf("with another codec: %d, %v", n, err)
	}
}

// A crash loop ends in an error, not in a storm of processes: every worker but
// the first dies in its Init.
func TestCase246_CrashLoop(t *testing.T) {
	starts, err := shm.NewValue[int64](0)
	if err != nil {
		t.Fatal(err)
	}
	defer starts.Close()
	p, err := pool.New(&pool.Config{Workers: 1, Init: dieLater.With(starts)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx := within(t)
	if _, err := die.Call(ctx, p, int(syscall.SIGKILL)); !errors.As(err, new(*pool.WorkerError)) {
		t.Errorf("the call that kills: %v", err)
	}
	if _, err := double.Call(ctx, p, 1); !errors.Is(err, pool.ErrBroken) {
		t.Errorf("with a crash loop: %v", err)
	} else {
		t.Log(err)
	}
	if n := starts.Load(); n < 5 || n > 20 {
		t.Errorf("%d workers were started", n)
	}
	if _, err := double.Call(ctx, p, 1); !errors.Is(err, pool.ErrBroken) {
		t.Errorf("later: %v", err)
	}
}

var dieLater = pool.RegisterInit("dieLater", func(_ context.Context, starts *shm.Value[int64]) error {
	if n, err := shm.Add(starts, 1); n > 1 || err != nil {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
})
