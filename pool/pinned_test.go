package pool_test

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

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
	for name, apart := range map[string]int{"one CPU": 0, "two CPUs": len(cpus) - 1} {
		t.Run(name, func(t *testing.T) {
			const calls = 2000
			slept, tries, alone := 0, 0, 0
			// Others want these CPUs, too: each try takes the next ones.
			for end := time.Now().Add(hang); time.Now().Before(end); tries++ {
				before := strangers()
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				caller, worker := cpus[tries%len(cpus)], cpus[(tries+apart)%len(cpus)]
				child, err := callsBound.StartCmd(within(t), &proc.Cmd{CPUs: []int{caller}, Stdout: w}, boundCalls{worker, calls})
				w.Close()
				if err != nil {
					t.Fatal(err)
				}
				_, err = fmt.Fscan(r, &slept)
				r.Close()
				if _, err2 := child.Wait(bg); err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				if t.Logf("%d calls, %d sleeps, CPUs %d and %d", calls, slept, caller, worker); slept < calls/4 {
					return
				}
				if before+strangers() == 0 {
					alone++
				}
				time.Sleep(100 * time.Millisecond)
			}
			// Who gives the CPU away beside busy strangers gives it to one of them.
			if alone < 10 {
				t.Skipf("the machine is too busy: strangers wanted a CPU before or after all but %d of %d tries", alone, tries)
			}
			t.Errorf("%d calls, %d sleeps in the last of %d tries, %d of them alone", calls, slept, tries, alone)
		})
	}
}

// strangers returns how many threads beside this one run, or want to. The load
// average is that of a minute: it learns too late of them.
func strangers() int {
	running, field := 0, ""
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Sscan(string(b), &field, &field, &field, &field)
		fmt.Sscanf(field, "%d/", &running)
	}
	return max(running-1, 0)
}
