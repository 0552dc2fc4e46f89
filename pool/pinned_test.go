package pool_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/pool"
	"github.com/rawipc/rawipc/proc"
)

type boundCalls struct{ CPU, Calls int }

// callsBound makes calls to a worker on a CPU and prints how often a thread of
// this process slept meanwhile.
var callsBound = proc.Register("callsBound", func(ctx context.Context, a boundCalls) error {
	p, err := pool.New(&pool.Config{Workers: 1, CPUs: []int{a.CPU}})
	if err != nil {
		return err
	}
	defer p.Close()
	var before, after syscall.Rusage
	for i := range 2 * a.Calls {
		if i == a.Calls { // until then they learn
			syscall.Getrusage(syscall.RUSAGE_SELF, &before)
		}
		if n, err := double.Call(ctx, p, i); err != nil || n != 2*i {
			return fmt.Errorf("%d, %w", n, err)
		}
	}
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	fmt.Println(after.Nvcsw - before.Nvcsw)
	return nil
})

// A process that is bound to a CPU of its own, and a worker to another one, look
// for each other as those do that may use both; on the same CPU each lets the
// other one run. Neither sleeps.
func TestPinned(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has figures of its own")
	}
	cpus := affinity(t)
	for name, worker := range map[string]int{"one CPU": cpus[0], "two CPUs": cpus[len(cpus)-1]} {
		t.Run(name, func(t *testing.T) {
			const calls = 2000
			slept := 0
			for range 5 { // others want these CPUs, too
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				child, err := callsBound.StartCmd(within(t), &proc.Cmd{CPUs: cpus[:1], Stdout: w}, boundCalls{worker, calls})
				w.Close()
				if err != nil {
					t.Fatal(err)
				}
				_, err = fmt.Fscan(r, &slept)
				r.Close()
				if _, err2 := child.Wait(bg); err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				if t.Logf("%d calls, %d sleeps", calls, slept); slept < calls/4 {
					return
				}
			}
			// Who gives the CPU away beside busy strangers gives it to one of them.
			var load float64
			if b, err := os.ReadFile("/proc/loadavg"); err == nil {
				fmt.Sscan(string(b), &load)
			}
			if load > float64(runtime.NumCPU()) {
				t.Skipf("the machine is too busy: a load of %.1f", load)
			}
			t.Errorf("%d calls, %d sleeps in the last of 5 tries", calls, slept)
		})
	}
}
