// Command start measures Start and Wait of a small program: a function by proc
// beside the same binary by os/exec, in turns.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/rawipc/rawipc/proc"
)

var nothing = proc.Register("nothing", func(context.Context, struct{}) error { return nil })

func main() {
	if os.Getenv("EXIT") != "" {
		return // where Dispatch stands
	}
	proc.Dispatch()
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	ways := []func() error{byProc, byExec}
	took := make([][]time.Duration, len(ways))
	cpu := make([]time.Duration, len(ways))
	for range n {
		for w, one := range ways {
			used, start := cpuTime(), time.Now()
			if err := one(); err != nil {
				panic(err)
			}
			took[w] = append(took[w], time.Since(start))
			cpu[w] += cpuTime() - used
		}
	}
	for w := range took {
		slices.Sort(took[w])
		fmt.Println(took[w][n/2].Nanoseconds(), (cpu[w] / time.Duration(n)).Nanoseconds())
	}
}

func byProc() error {
	p, err := nothing.Start(context.Background(), struct{}{})
	if err != nil {
		return err
	}
	_, err = p.Wait(context.Background())
	return err
}

func byExec() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "EXIT=1")
	return cmd.Run()
}

// cpuTime is what this process and its children have used.
func cpuTime() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		syscall.Getrusage(who, &u)
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
