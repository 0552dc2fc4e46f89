package pool_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

const pythonFigures = `
import time, multiprocessing as mp
def double(n): return 2*n
def rss(pid): return int(open("/proc/%d/statm" % pid).read().split()[1]) * 4 / 1024
if __name__ == "__main__":
    ctx = mp.get_context("fork")
    t = time.perf_counter(); p = ctx.Pool(8); p.map(double, range(8), 1); print("ms-ready-8", 1e3*(time.perf_counter()-t))
    print("MiB/worker", sum(rss(w.pid) for w in p._pool)/8)
    p.terminate()
    p = ctx.Pool(2)
    p.map(double, range(1000))
    t = time.perf_counter(); p.map(double, range(100000), 1); print("ms-map-million-chunk-1", 1e4*(time.perf_counter()-t))
    t = time.perf_counter(); p.map(double, range(1000000)); print("ms-map-million", 1e3*(time.perf_counter()-t))
    a = []
    for i in range(2000):
        t = time.perf_counter(); p.apply(double, (i,)); a.append(time.perf_counter()-t)
    a.sort(); print("us-apply-p50", 1e6*a[1000])
    p.terminate()
`

// BenchmarkPython has Python's figures for what the benchmarks beside it do:
// BenchmarkReady, BenchmarkMapMillion and BenchmarkCall.
func BenchmarkPython(b *testing.B) {
	python := fuzz.Tool(b, "python3")
	for b.Loop() {
		out, err := exec.Command(python, "-c", pythonFigures).CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(line)
			}
			b.ReportMetric(n, name)
		}
	}
}

// BenchmarkCopies does what a program with nothing but shared memory would do
// for BenchmarkBig, in one process: four copies of 64 MiB.
func BenchmarkCopies(b *testing.B) {
	in, ring, own := make([]byte, 64<<20), make([]byte, 64<<10), make([]byte, 64<<20)
	b.SetBytes(2 * int64(len(in)))
	for b.Loop() {
		for _, way := range [][2][]byte{{in, own}, {own, in}} {
			for at := 0; at < len(in); at += len(ring) {
				copy(ring, way[0][at:])
				copy(way[1][at:at+len(ring)], ring)
			}
		}
	}
}
