package pool_test

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pool"
)

// maxLines bounds pool's code: it composes the other packages. Lines of code
// are those that have more than a comment, a closing bracket or an import.
const maxLines = 1055

func TestLines(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		from := set.Position(f.Name.End()).Line
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
				from = set.Position(g.End()).Line
			}
		}
		for _, line := range strings.Split(string(src), "\n")[from:] {
			line = strings.Trim(line, "\t )}],")
			if line != "" && !strings.HasPrefix(line, "//") {
				total++
			}
		}
	}
	t.Logf("%d lines", total)
	if total > maxLines {
		t.Errorf("%d lines of code, want %d at most", total, maxLines)
	}
}

var workerAllocs = pool.Register("workerAllocs", func(context.Context, int) (float64, error) { return float64(mallocs()), nil })

// The raw path: at most two allocations in the caller, none in the worker.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := newPool(t, 1)
	call := func() {
		if n, err := double.Call(bg, p, 21); n != 42 || err != nil {
			t.Error(n, err)
		}
	}
	call()
	const runs = 1000
	if n := testing.AllocsPerRun(runs, call); n > 2 {
		t.Errorf("%v allocations a call in the caller, want 2 at most", n)
	} else {
		t.Logf("%v allocations a call in the caller", n)
	}
	before, err := workerAllocs.Call(bg, p, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range runs {
		call()
	}
	after, err := workerAllocs.Call(bg, p, 0)
	if n := (after - before) / runs; n >= 0.1 || err != nil {
		t.Errorf("%v allocations a call in the worker, want 0, %v", n, err)
	}
}

// A large result takes its own size of memory in the caller, once, and a chunk of
// values without pointers none in a worker that had one before.
func TestAllocsLarge(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p, ctx, runs := newPool(t, 1), within(t), 20
	for _, size := range []int{64 << 10, 1 << 20} {
		in := make([]byte, size)
		var before, after runtime.MemStats
		for i := -1; i < runs; i++ {
			if i == 0 { // all was used once
				runtime.ReadMemStats(&before)
			}
			if out, err := echo.Call(ctx, p, in); err != nil || len(out) != size {
				t.Fatal(len(out), err)
			}
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / uint64(runs*size); n > 1 {
			t.Errorf("a result of %d bytes takes %d times that in the caller, want once", size, n)
		}
	}
	var took [2]uint64
	for i := range took {
		for range runs {
			if _, err := double.Map(ctx, p, make([]int, 100_000)); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if took[i], err = workerMemory.Call(ctx, p, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := (took[1] - took[0]) / uint64(4*runs); n > 1000 {
		t.Errorf("a chunk takes %d bytes of new memory in the worker, want hardly any", n)
	} else {
		t.Logf("a chunk takes %d bytes of new memory in the worker", n)
	}
}

var workerMemory = pool.Register("workerMemory", func(context.Context, int) (uint64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc, nil
})

// What does not fit a record is put together again, and so are items whose size
// does not divide one.
func TestPieces(t *testing.T) {
	p, ctx := newPool(t, 1), within(t)
	const piece = 64 << 10
	for _, n := range []int{0, piece - 48, piece - 1, piece, piece + 1, 2*piece - 1, 2 * piece, 4 * piece, 17*piece + 3} {
		in := make([]byte, n)
		for i := range in {
			in[i] = byte(i * 31 >> 3)
		}
		if out, err := echo.Call(ctx, p, in); err != nil || !bytes.Equal(out, in) {
			t.Errorf("%d bytes: %d came, %v", n, len(out), err)
		}
	}
	for _, n := range []int{1, 2, piece / 24, piece/24 + 1, 100_000, 3} {
		in := make([][3]int, n)
		for i := range in {
			in[i] = [3]int{i, -i, i * i}
		}
		out, err := turned.Map(ctx, p, in)
		if err != nil || len(out) != n {
			t.Fatalf("%d items: %d came, %v", n, len(out), err)
		}
		for i, v := range out {
			if v != [3]int32{int32(i * i), int32(-i), int32(i)} {
				t.Fatalf("%d items: item %d is %d", n, i, v)
			}
		}
	}
}

var turned = pool.Register("turned", func(_ context.Context, v [3]int) ([3]int32, error) {
	return [3]int32{int32(v[2]), int32(v[1]), int32(v[0])}, nil
})

// An idle pool burns no CPU, here or in its workers.
func TestIdleBurnsNothing(t *testing.T) {
	if fuzz.Noise() {
		t.Skip("this run has signals that wake sleepers")
	}
	p := newPool(t, 2)
	healthy(t, p, 2)
	time.Sleep(50 * time.Millisecond)
	cpu := func() (ticks int) {
		for _, w := range p.Stats().Workers {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.Pid))
			f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
			var u, s int
			fmt.Sscan(f[11], &u)
			fmt.Sscan(f[12], &s)
			ticks += u + s
		}
		return ticks
	}
	// The time that a host takes from this machine may be charged to whoever
	// happens to run: that hits one window, and what burns CPU hits all.
	for end := time.Now().Add(hang / 2); ; {
		var own, own2 syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &own)
		before := cpu()
		time.Sleep(500 * time.Millisecond)
		syscall.Getrusage(syscall.RUSAGE_SELF, &own2)
		ticks := cpu() - before
		used := own2.Utime.Nano() + own2.Stime.Nano() - own.Utime.Nano() - own.Stime.Nano()
		t.Logf("in 500 ms idle workers used %d ticks of 10 ms, and their owner %d ms", ticks, used/1e6)
		if ticks <= 1 && used <= 50e6 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("want 1 tick and 50 ms at most, once in 10 s")
		}
	}
}

// With a spare the next worker is there at once: the time is that from a
// death's error to the next call's worker.
func BenchmarkSpare(b *testing.B) {
	p := poolOf(b, &pool.Config{Workers: 1, Spares: 2})
	var all []time.Duration
	for b.Loop() {
		b.StopTimer()
		until(b, "spares", func() bool { return p.Stats().Idle == 3 })
		die.Call(bg, p, int(syscall.SIGKILL))
		b.StartTimer()
		start := time.Now()
		if _, err := double.Call(bg, p, 1); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(start))
	}
	percentiles(b, all)
}

func percentiles(b *testing.B, all []time.Duration) {
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2]), "p50-ns")
	b.ReportMetric(float64(all[len(all)*99/100]), "p99-ns")
}

// Call of an int.
func BenchmarkCall(b *testing.B) {
	for _, cpus := range []int{1, 2} {
		b.Run(fmt.Sprintf("cpus=%d", cpus), func(b *testing.B) {
			restore := pin(b, cpus)
			defer restore()
			p := poolOf(b, &pool.Config{Workers: 1})
			all := make([]time.Duration, 0, 1<<20)
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				if _, err := double.Call(bg, p, 1); err != nil {
					b.Fatal(err)
				}
				all = append(all, time.Since(start))
			}
			percentiles(b, all)
		})
	}
}

func BenchmarkMapMillion(b *testing.B) {
	in := slices.Collect(count(1_000_000))
	b.Run("impl=pool", func(b *testing.B) {
		p := newPool(b, 2)
		for b.Loop() {
			if _, err := double.Map(bg, p, in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("impl=channel", func(b *testing.B) {
		for b.Loop() {
			byChannel(in)
		}
	})
}

var echo = pool.Register("echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })

func BenchmarkBig(b *testing.B) {
	in, out := make([]byte, 64<<20), make([]byte, 64<<20)
	for i := range in {
		in[i] = byte(i)
	}
	p := newPool(b, 1)
	for range 2 { // buffers grow
		if err := echo.CallInto(bg, p, in, &out); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(2 * int64(len(in)))
	for b.Loop() {
		if err := echo.CallInto(bg, p, in, &out); err != nil || len(out) != len(in) {
			b.Fatal(len(out), err)
		}
	}
}

func BenchmarkReady(b *testing.B) {
	for b.Loop() {
		p, err := pool.New(&pool.Config{Workers: 8})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		rss := int64(0)
		for _, w := range p.Stats().Workers {
			rss += w.RSS
		}
		b.ReportMetric(float64(rss)/8/(1<<20), "MiB/worker")
		p.Close()
		b.StartTimer()
	}
}
