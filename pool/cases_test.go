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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pool"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func poolOf(t testing.TB, cfg *pool.Config) *pool.Pool {
	t.Helper()
	p, err := pool.New(cfg)
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

// until waits for what must come.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: " + what)
		}
	}
}

// healthy fails the test if p does not work any more, at full size.
func healthy(t testing.TB, p *pool.Pool, size int) {
	t.Helper()
	in := make([]int, 100)
	for i := range in {
		in[i] = i
	}
	out, err := double.Map(within(t), p, in)
	if err != nil {
		t.Fatalf("afterwards: %v", err)
	}
	for i, n := range out {
		if n != 2*i {
			t.Fatalf("afterwards: item %d is %d", i, n)
		}
	}
	until(t, "a pool of full size", func() bool { return p.Stats().Idle == size })
}

func count(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func TestCase240_OrderAndChunks(t *testing.T) {
	ctx := within(t)
	for _, chunk := range []int{0, 1, 3, 1000} {
		p := poolOf(t, &pool.Config{Workers: 2, Chunk: chunk})
		for _, n := range []int{0, 1, 2, 7, 50} {
			in := slices.Collect(count(n))
			want := make([]int, n)
			for i := range want {
				want[i] = 2 * i
			}
			if out, err := double.Map(ctx, p, in); err != nil || !slices.Equal(out, want) {
				t.Errorf("Map, %d in chunks of %d: %v, %v", n, chunk, out, err)
			}
			var out []int
			for v, err := range double.MapSeq(ctx, p, count(n)) {
				if out = append(out, v); err != nil {
					t.Error(err)
				}
			}
			if !slices.Equal(out, want) {
				t.Errorf("MapSeq, %d in chunks of %d: %v", n, chunk, out)
			}
			out = nil
			for v, err := range double.MapUnordered(ctx, p, count(n)) {
				if out = append(out, v); err != nil {
					t.Error(err)
				}
			}
			if slices.Sort(out); !slices.Equal(out, want) {
				t.Errorf("MapUnordered, %d in chunks of %d: %v", n, chunk, out)
			}
		}
		p.Close()
	}
	if _, err := pool.New(&pool.Config{Chunk: -1}); err == nil {
		t.Error("chunks of -1: no error")
	}
}

func TestCase241_Sizes(t *testing.T) {
	for _, cfg := range []pool.Config{{Workers: -1}, {Spares: -1}, {MaxCalls: -1}, {MaxRSS: -1}, {Retries: -1}, {WaitDelay: -1}, {Codec: "none"}} {
		if p, err := pool.New(&cfg); err == nil {
			p.Close()
			t.Errorf("%+v: no error", cfg)
		}
	}
	p := poolOf(t, nil) // 0: the default
	if p.Stats().Size != pool.CPUs() {
		t.Errorf("%d workers on %d CPUs", p.Stats().Size, pool.CPUs())
	}
	for _, n := range []int{0, -1} {
		if err := p.Resize(n); err == nil {
			t.Errorf("Resize(%d): no error", n)
		}
	}
}

// deadly kills its process when it is encoded or decoded there.
type deadly struct{ Decode, Encode bool }

func (d deadly) GobEncode() ([]byte, error) {
	if d.Encode {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return []byte{0}, nil
}
func (d *deadly) GobDecode(b []byte) error {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	return nil
}

var (
	decodeDies = pool.Register("decodeDies", func(context.Context, *deadly) (int, error) { return 0, nil })
	encodeDies = pool.Register("encodeDies", func(context.Context, int) (*deadly, error) { return &deadly{Encode: true}, nil })
	writeDies  = pool.Register("writeDies", func(_ context.Context, n int) ([]byte, error) {
		go func() {
			time.Sleep(10 * time.Millisecond)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}()
		return make([]byte, n), nil
	})
)

func TestCase243_WhereItDies(t *testing.T) {
	p, ctx := newPool(t, 2), within(t)
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"decoding the argument", func() error { _, err := decodeDies.Call(ctx, p, &deadly{}); return err }},
		{"encoding the result", func() error { _, err := encodeDies.Call(ctx, p, 1); return err }},
		{"writing 512 MiB", func() error { _, err := writeDies.Call(ctx, p, 512<<20); return err }},
	} {
		err := c.call()
		if dead := (*pool.WorkerError)(nil); !errors.As(err, &dead) || dead.Pid < 2 || dead.State.Signal() != syscall.SIGKILL {
			t.Errorf("%s: %v", c.name, err)
		}
		healthy(t, p, 2)
	}
}

var teller = pool.Register("teller", func(_ context.Context, s string) (int, error) {
	fmt.Fprintf(os.Stderr, "%s\nlast words", s)
	os.Exit(3)
	return 0, nil
})

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// A WorkerError says function, process, end and standard error, which is
// forwarded with a prefix.
func TestStderr(t *testing.T) {
	var b syncBuffer
	p := poolOf(t, &pool.Config{Workers: 1, Stderr: &b})
	_, err := teller.Call(within(t), p, "first")
	dead := (*pool.WorkerError)(nil)
	if !errors.As(err, &dead) || dead.Func != "teller" || dead.State.ExitCode() != 3 || string(dead.Stderr) != "first\nlast words" {
		t.Fatalf("%#v", err)
	}
	want := fmt.Sprintf("pool: teller: worker %d died: exit status 3; its standard error ends with:\nfirst\nlast words", dead.Pid)
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	p.Close()
	if want := fmt.Sprintf("[worker %d] first\n[worker %[1]d] last words\n", dead.Pid); b.b.String() != want {
		t.Errorf("%q, want %q", b.b.String(), want)
	}
}

var errOdd = errors.New("odd")

type codeError struct{ Code int }

func (e *codeError) Error() string { return fmt.Sprintf("code %d", e.Code) }

type stubborn struct{ X int }

func (e stubborn) Error() string              { return "stubborn" }
func (e stubborn) GobEncode() ([]byte, error) { return []byte{1}, nil }
func (e *stubborn) GobDecode([]byte) error    { return errors.New("never") }

// infectious can't be encoded or decoded without a panic.
type infectious struct{ There bool }

func (e infectious) Error() string { return "infectious" }
func (e infectious) GobEncode() ([]byte, error) {
	if e.There {
		panic("there")
	}
	return []byte{1}, nil
}
func (e *infectious) GobDecode([]byte) error { panic("here") }

// unread is no plain memory, so that it goes through gob.
type unread struct{ S string }

func (unread) GobEncode() ([]byte, error) { return []byte{1}, nil }
func (*unread) GobDecode([]byte) error    { return errors.New("never") }

var unreadable = pool.Register("unreadable", func(context.Context, int) (unread, error) { return unread{}, nil })

var failing = pool.Register("failing", func(ctx context.Context, n int) (int, error) {
	switch n {
	case 1:
		return 0, fmt.Errorf("wrapped: %w", errOdd)
	case 2:
		return 0, fmt.Errorf("wrapped: %w", &codeError{7})
	case 3:
		_, err := os.Open("/nonexistent")
		return 0, err
	case 4:
		return 0, stubborn{1}
	case 5:
		panic(errOdd)
	case 6, 7:
		return 0, infectious{n == 6}
	}
	return n, nil
})

func init() {
	pool.RegisterError("pool_test.odd", errOdd)
	pool.RegisterError("pool_test.code", &codeError{})
	pool.RegisterError("pool_test.stubborn", stubborn{})
	pool.RegisterError("pool_test.infectious", infectious{})
}

// errors.Is and errors.As work across; what can't be decoded leaves its text.
func TestCase244_ErrorIdentity(t *testing.T) {
	p, ctx := newPool(t, 1), within(t)
	_, err := failing.Call(ctx, p, 1)
	if !errors.Is(err, errOdd) || errors.Is(err, os.ErrNotExist) {
		t.Errorf("Is: %v", err)
	}
	_, err = failing.Call(ctx, p, 2)
	if c := (*codeError)(nil); !errors.As(err, &c) || c.Code != 7 {
		t.Errorf("As: %v", err)
	}
	if _, err = failing.Call(ctx, p, 3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	_, err = failing.Call(ctx, p, 4)
	if task := (*pool.TaskError)(nil); !errors.As(err, &task) || task.Msg != "stubborn" || errors.As(err, new(stubborn)) {
		t.Errorf("one that can't be decoded: %v", err)
	}
	for n := 6; n < 8; n++ {
		_, err := failing.Map(ctx, p, []int{n})
		if task := (*pool.TaskError)(nil); !errors.As(err, &task) || task.Msg != "infectious" {
			t.Errorf("one whose codec panics: %v", err)
		}
	}
	if _, err = unreadable.Call(ctx, p, 1); err == nil || !strings.Contains(err.Error(), "unreadable: decoding the result: never") {
		t.Errorf("a result that can't be decoded: %v", err)
	}
	healthy(t, p, 1)
}

func TestCase248_CloseRacesDeath(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for i := range rounds {
		p := newPool(t, 2)
		var all sync.WaitGroup
		for _, w := range p.Stats().Workers {
			all.Go(func() { syscall.Kill(w.Pid, syscall.SIGKILL) })
		}
		all.Go(func() { die.Call(bg, p, int(syscall.SIGKILL)) })
		// From before the deaths are seen until after.
		time.Sleep([]time.Duration{0, 100, 1000, 3000, 10_000}[i%5] * time.Microsecond)
		all.Go(func() { p.Close() })
		all.Wait()
	}
}

func TestCase249_SubmitFromACallback(t *testing.T) {
	p, ctx := newPool(t, 1), within(t)
	for v, err := range double.MapSeq(ctx, p, count(5)) {
		if n, err2 := double.Call(ctx, p, v); n != 2*v || err != nil || err2 != nil {
			t.Errorf("%d: %d, %v, %v", v, n, err, err2)
		}
	}
}

func TestCase250_MaxCalls(t *testing.T) {
	p := poolOf(t, &pool.Config{Workers: 2, MaxCalls: 3})
	calls := make([]*pool.Pending[int], 40)
	for i := range calls {
		calls[i] = pid.Go(within(t), p, struct{}{})
	}
	pids := map[int]int{}
	for _, c := range calls {
		n, err := c.Wait(within(t))
		if err != nil {
			t.Fatal(err)
		}
		pids[n]++
	}
	for n, calls := range pids {
		if calls > 3 {
			t.Errorf("worker %d had %d calls", n, calls)
		}
	}
	if len(pids) < 14 {
		t.Errorf("%d workers for 40 calls, 3 each", len(pids))
	}
}

var hold = make([]byte, 0)

var grow = pool.Register("grow", func(_ context.Context, n int) (int, error) {
	hold = make([]byte, n)
	for i := 0; i < n; i += 512 {
		hold[i] = 1
	}
	return os.Getpid(), nil
})

func TestMaxRSS(t *testing.T) {
	p, ctx := poolOf(t, &pool.Config{Workers: 1, MaxRSS: 96 << 20}), within(t)
	a, err := grow.Call(ctx, p, 1)
	b, err2 := grow.Call(ctx, p, 128<<20)
	c, err3 := grow.Call(ctx, p, 1)
	if a != b || b == c || errors.Join(err, err2, err3) != nil {
		t.Errorf("workers %d, %d, %d, %v", a, b, c, errors.Join(err, err2, err3))
	}
}

func TestCase251_Saturation(t *testing.T) {
	const size = 3
	p := newPool(t, size)
	calls := make([]*pool.Pending[int], 15*size)
	for i := range calls {
		calls[i] = sleep.Go(within(t), p, 10*time.Millisecond)
	}
	pids := map[int]bool{}
	for _, c := range calls {
		n, err := c.Wait(within(t))
		if err != nil {
			t.Fatal(err)
		}
		pids[n] = true
	}
	if len(pids) != size || len(p.Stats().Workers) != size {
		t.Errorf("%d workers did it, there are %d, want %d", len(pids), len(p.Stats().Workers), size)
	}
}

func TestCase252_LateResults(t *testing.T) {
	p := newPool(t, 2)
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for i := range rounds {
		ctx, cancel := context.WithTimeout(bg, time.Duration(rand.IntN(600))*time.Microsecond)
		n, err := slowDouble.Call(ctx, p, i) // it takes 300 µs
		cancel()
		if err == nil && n != 2*i || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("call %d: %d, %v", i, n, err)
		}
		if n, err := double.Call(within(t), p, -i); n != -2*i || err != nil {
			t.Fatalf("after call %d: %d, %v", i, n, err)
		}
	}
	healthy(t, p, 2)
}

var untilTold = pool.Register("untilTold", func(ctx context.Context, s *shmName) (int, error) {
	<-ctx.Done()
	f, err := os.OpenFile(s.Path, os.O_WRONLY, 0)
	if err == nil {
		_, hasDeadline := ctx.Deadline()
		fmt.Fprintf(f, "%v %v", ctx.Err(), hasDeadline)
		f.Close()
	}
	return 0, ctx.Err()
})

type shmName struct{ Path string }

// A cancel reaches the function that runs; its worker then ends by itself.
func TestCancelReaches(t *testing.T) {
	p := newPool(t, 1)
	for _, deadline := range []bool{false, true} {
		var call *pool.Pending[int]
		var f *os.File
		// With too little time the call ends before the function has begun, and
		// nobody is told.
		for d, began := 30*time.Millisecond, false; !began; d *= 2 {
			if d > 2*hang {
				t.Fatalf("no function began within %v", d/2)
			}
			var path string
			path, f = fifo(t)
			ctx, cancel := context.WithCancel(bg)
			if deadline {
				cancel()
				ctx, cancel = context.WithTimeout(bg, d)
			}
			defer cancel()
			call = untilTold.Go(ctx, p, &shmName{path})
			until(t, "a busy worker", func() bool {
				began = running(p, "untilTold") != 0 && ctx.Err() == nil
				return began || ctx.Err() != nil
			})
			if !deadline {
				cancel()
			}
			_, err := call.Wait(within(t))
			if want := map[bool]error{false: context.Canceled, true: context.DeadlineExceeded}[deadline]; !errors.Is(err, want) {
				t.Errorf("deadline: %v: %v, want %v", deadline, err, want)
			}
		}
		buf := make([]byte, 100)
		f.SetReadDeadline(time.Now().Add(hang))
		n, err := f.Read(buf)
		if want := map[bool]string{false: "context canceled false", true: "context deadline exceeded true"}[deadline]; string(buf[:n]) != want && !(deadline && string(buf[:n]) == "context canceled true") {
			t.Errorf("the function was told %q, %v, want %q", buf[:n], err, want)
		}
		healthy(t, p, 1)
	}
}

// limited runs in a process that may have few descriptors.
var limited = proc.Register("pool_test.limited", func(_ context.Context, out *os.File) error {
	p, err := pool.New(&pool.Config{Workers: 1}) // what a process needs once
	if err != nil {
		return err
	}
	p.Close()
	fds, _ := os.ReadDir("/proc/self/fd")
	lim := unix.Rlimit{Cur: uint64(len(fds) + 20), Max: uint64(len(fds) + 20)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	p, err = pool.New(&pool.Config{Workers: 4})
	if err == nil {
		p.Close()
		return errors.New("four workers with too few descriptors")
	}
	if !errors.Is(err, syscall.EMFILE) {
		return err
	}
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		kids, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if len(kids) > 0 {
			return fmt.Errorf("children left: %s", kids)
		}
	}
	after, _ := os.ReadDir("/proc/self/fd")
	if len(after) > len(fds) {
		return fmt.Errorf("%d descriptors, then %d", len(fds), len(after))
	}
	return nil
})

func TestCase253_StartFailsMidway(t *testing.T) {
	c, err := limited.Start(bg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wait(within(t)); err != nil {
		t.Error(err)
	}
}

func TestCase254_ManyAtOnce(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 3000
	}
	p, ctx := newPool(t, 2), within(t)
	calls := make([]*pool.Pending[int], n)
	for i := range calls {
		calls[i] = double.Go(ctx, p, i)
	}
	for i, c := range calls {
		if v, err := c.Wait(ctx); v != 2*i || err != nil {
			t.Fatalf("call %d: %d, %v", i, v, err)
		}
	}
}

func TestCase255_StoppedWorker(t *testing.T) {
	p := poolOf(t, &pool.Config{Workers: 2, WaitDelay: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	call := sleep.Go(ctx, p, time.Hour)
	var stopped int
	until(t, "a busy worker", func() bool { stopped = running(p, "sleep"); return stopped != 0 })
	if err := syscall.Kill(stopped, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if n, err := double.Call(within(t), p, i); n != 2*i || err != nil {
			t.Fatalf("beside it: %d, %v", n, err)
		}
	}
	cancel()
	if _, err := call.Wait(within(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("the stopped one's call: %v", err)
	}
	until(t, "the stopped one's end", func() bool { return syscall.Kill(stopped, 0) == syscall.ESRCH })
	healthy(t, p, 2)
}

// Workers leave while calls come: none is lost.
func TestCase256_ResizeRacesCalls(t *testing.T) {
	p, ctx := newPool(t, 2), within(t)
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	var all sync.WaitGroup
	var stop atomic.Bool
	for range 3 {
		all.Go(func() {
			for i := 0; !stop.Load(); i++ {
				if n, err := double.Call(ctx, p, i); n != 2*i || err != nil {
					t.Errorf("%d: %d, %v", i, n, err)
					return
				}
			}
		})
	}
	for i := range rounds {
		if err := p.Resize(1 + i%3); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	stop.Store(true)
	all.Wait()
	p.Resize(3)
	healthy(t, p, 3)
	p.Resize(1)
	healthy(t, p, 1)
}

// owner makes a pool, tells the workers' numbers and lives on.
var owner = proc.Register("pool_test.owner", func(ctx context.Context, out *os.File) error {
	ctrlC, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	p, err := pool.New(&pool.Config{Workers: 4})
	if err != nil {
		return err
	}
	defer p.Close()
	for range 4 {
		sleep.Go(bg, p, time.Hour)
	}
	for p.Stats().Busy < 4 {
		time.Sleep(time.Millisecond)
	}
	for _, w := range p.Stats().Workers {
		binary.Write(out, binary.NativeEndian, int64(w.Pid))
	}
	<-ctrlC.Done()
	return nil
})

func owned(t *testing.T, end func(c *proc.Process)) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := owner.StartCmd(bg, &proc.Cmd{Sys: &syscall.SysProcAttr{Setpgid: true}}, w)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var pids [4]int64
	r.SetReadDeadline(time.Now().Add(hang))
	if err := binary.Read(r, binary.NativeEndian, &pids); err != nil {
		c.Kill()
		t.Fatal(err)
	}
	end(c)
	c.Wait(within(t))
	for _, pid := range pids {
		until(t, "the workers' end", func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || bytes.Contains(stat, []byte(") Z "))
		})
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
}

func TestCase257_ParentKilled(t *testing.T) { owned(t, func(c *proc.Process) { c.Kill() }) }

// Ctrl-C goes to the whole process group.
func TestCtrlC(t *testing.T) {
	owned(t, func(c *proc.Process) { syscall.Kill(-c.Pid(), syscall.SIGINT) })
}

func TestCase258_Poison(t *testing.T) {
	p := poolOf(t, &pool.Config{Workers: 2, Retries: 2, Spares: 1})
	poison := die.Go(within(t), p, int(syscall.SIGKILL))
	for i := range 50 {
		if n, err := double.Call(within(t), p, i); n != 2*i || err != nil {
			t.Errorf("beside the poison: %d, %v", n, err)
		}
	}
	if _, err := poison.Wait(within(t)); !errors.As(err, new(*pool.WorkerError)) {
		t.Errorf("the poison: %v", err)
	}
	if n := p.Stats().Retried; n != 2 {
		t.Errorf("retried %d times, want 2", n)
	}
	healthy(t, p, 3)
}

type shared struct {
	Hits  *shm.Value[int64]
	Words *shm.ObjectQueue[string]
}

var (
	theirs    shared
	initial   = pool.RegisterInit("initial", func(_ context.Context, s shared) error { theirs = s; return nil })
	badInit   = pool.RegisterInit("badInit", func(context.Context, int) error { return os.ErrNotExist })
	panicInit = pool.RegisterInit("panicInit", func(context.Context, int) error { panic("no") })
	hit       = pool.Register("hit", func(ctx context.Context, s string) (int64, error) {
		if err := theirs.Words.Send(ctx, s); err != nil {
			return 0, err
		}
		return shm.Add(theirs.Hits, 1)
	})
)

func TestInit(t *testing.T) {
	hits, err := shm.NewValue[int64](0)
	if err != nil {
		t.Fatal(err)
	}
	defer hits.Close()
	words, err := shm.NewObjectQueue[string](1<<12, "")
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	p := poolOf(t, &pool.Config{Workers: 2, Init: initial.With(shared{hits, words})})
	if _, err := hit.Map(within(t), p, []string{"a", "b", "c"}); err != nil || hits.Load() != 3 || words.Len() != 3 {
		t.Errorf("%d hits, %d words, %v", hits.Load(), words.Len(), err)
	}
	if _, err := pool.New(&pool.Config{Workers: 2, Init: badInit.With(1)}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an Init that fails: %v", err)
	}
	if _, err := pool.New(&pool.Config{Workers: 1, Init: panicInit.With(1)}); err == nil {
		t.Error("an Init that panics: no error")
	}
}

var nested = pool.Register("nested", func(ctx context.Context, n int) (int, error) {
	p, err := pool.New(&pool.Config{Workers: 2})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	if n == 0 {
		return double.Call(ctx, p, 1)
	}
	return (*inner.Load()).Call(ctx, p, n-1)
})

var inner atomic.Pointer[pool.Func[int, int]]

func init() { inner.Store(nested) }

func TestNested(t *testing.T) {
	p := newPool(t, 1)
	if n, err := nested.Call(within(t), p, 1); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// An endless input needs bounded memory, and a loop that ends early ends it.
func TestStreams(t *testing.T) {
	p := newPool(t, 2)
	for _, f := range []struct {
		name string
		seq  func(in func(func(int) bool)) func(func(int, error) bool)
	}{
		{"MapSeq", func(in func(func(int) bool)) func(func(int, error) bool) { return refuse.MapSeq(within(t), p, in) }},
		{"MapUnordered", func(in func(func(int) bool)) func(func(int, error) bool) {
			return refuse.MapUnordered(within(t), p, in)
		}},
	} {
		var made atomic.Int64
		ended := false
		endless := func(yield func(int) bool) {
			defer func() { ended = true }()
			for i := 0; yield(i); i++ {
				made.Add(1)
			}
		}
		got, failed := 0, 0
		for _, err := range f.seq(endless) {
			if got++; err != nil {
				failed++
			}
			if ahead := made.Load() - int64(got); ahead > 6 {
				t.Errorf("%s: %d results, %d values ahead", f.name, got, ahead)
			}
			if got >= 30 && failed > 0 { // unordered, a failure may come late
				break
			}
		}
		if !ended || failed != 1 {
			t.Errorf("%s: the input ended: %v; %d errors, want 1", f.name, ended, failed)
		}
	}
	healthy(t, p, 2)
	ctx, cancel := context.WithCancel(bg)
	cancel()
	errs := 0
	for _, err := range double.MapSeq(ctx, p, count(10)) {
		if errs++; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	if errs != 1 {
		t.Errorf("cancelled: %d errors, want 1", errs)
	}
}

// No call waits behind a slow one while a worker is idle.
func TestNoWaitBehindSlow(t *testing.T) {
	p, ctx := newPool(t, 2), within(t)
	slow := sleep.Go(ctx, p, hang)
	for i := range 200 {
		if n, err := double.Call(ctx, p, i); n != 2*i || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	select {
	case <-slow.Done():
		t.Error("the slow call is over")
	default:
	}
}

// Shutdown waits for all that was accepted, those too that have no worker yet.
func TestShutdownDrains(t *testing.T) {
	p := newPool(t, 1)
	calls := make([]*pool.Pending[int], 10)
	for i := range calls {
		calls[i] = double.Go(bg, p, i)
	}
	if err := p.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	for i, c := range calls {
		if n, err := c.Wait(within(t)); n != 2*i || err != nil {
			t.Errorf("%d: %d, %v", i, n, err)
		}
	}
}

func TestProgress(t *testing.T) {
	var last atomic.Pointer[pool.Stats]
	p := poolOf(t, &pool.Config{Workers: 2, Progress: func(s pool.Stats) { last.Store(&s) }})
	if _, err := double.Map(within(t), p, make([]int, 1000)); err != nil {
		t.Fatal(err)
	}
	until(t, "word of 1000 items", func() bool { s := last.Load(); return s != nil && s.Items == 1000 })
	if s := p.Stats(); s.Items != 1000 || len(s.Workers) != 2 || s.Workers[0].RSS == 0 || s.Workers[0].Items+s.Workers[1].Items != 1000 {
		t.Errorf("%+v", s)
	}
}

// Three calls at once have three workers, however short of threads and CPUs their
// goroutines are.
func TestCase251_EachHasAWorker(t *testing.T) {
	const size = 3
	p, ctx := newPool(t, size), within(t)
	rounds, full := 30, 0
	for range rounds {
		calls := make([]*pool.Pending[int], 5*size)
		for i := range calls {
			calls[i] = sleep.Go(ctx, p, 2*time.Millisecond)
		}
		pids := map[int]int{}
		for _, c := range calls {
			n, err := c.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			pids[n]++
		}
		if len(pids) == size {
			full++
		}
	}
	t.Logf("%d of %d rounds had all workers at work", full, rounds)
	if full < rounds/2 {
		t.Error("calls waited while a worker was idle")
	}
}
