package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rawipc/rawipc/proc"
)

// Registered in a package variable, so that the child knows it, too. TestMain
// calls proc.Dispatch first, as main does in a program.
var greet = proc.Register("greet", func(_ context.Context, who string) error {
	_, err := fmt.Printf("hello, %s\n", who)
	return err
})

func ExampleRegister() {
	ctx := context.Background()
	p, err := greet.StartCmd(ctx, &proc.Cmd{Stdout: os.Stdout}, "world")
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := p.Wait(ctx)
	fmt.Println(state, err)
	// Output:
	// hello, world
	// exit status 0 <nil>
}

// repeater is a struct of arguments with a method, which is what a process runs:
// Python's subclass of Process.
type repeater struct {
	Word  string
	Times int
}

func (r repeater) Run(context.Context) error {
	_, err := fmt.Println(strings.Repeat(r.Word, r.Times))
	return err
}

var repeat = proc.RegisterMethod("repeat", repeater.Run)

func ExampleRegisterMethod() {
	ctx := context.Background()
	p, err := repeat.StartCmd(ctx, &proc.Cmd{Stdout: os.Stdout}, repeater{Word: "na ", Times: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := p.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: na na na na
}

// Any program runs with all that holds for functions: it would die with this
// process, and it gets this file and no other descriptor.
func ExampleStart() {
	ctx := context.Background()
	script := `echo "limited to $(ulimit -n) files, one of them is number $LOG"; echo done >&$LOG; exit 3`
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	p, err := proc.Start(ctx, &proc.Cmd{
		Path:   "/bin/sh",
		Args:   []string{"sh", "-c", script},
		Stdout: os.Stdout,
		Files:  map[string]*os.File{"LOG": w},
		Limits: proc.Limits{Files: 20},
	})
	w.Close()
	if err != nil {
		fmt.Println(err)
		return
	}
	state, _ := p.Wait(ctx)
	var log string
	fmt.Fscan(r, &log)
	fmt.Println(log, "-", state)
	// Output:
	// limited to 20 files, one of them is number 6
	// done - exit status 3
}

var divide = proc.Register("divide", func(_ context.Context, a [2]int) error {
	if a[1] == 1 {
		return errors.New("that is no division")
	}
	fmt.Println(a[0] / a[1])
	return nil
})

// How a process ended: an error, or a panic with its stack.
func ExampleExitError() {
	ctx := context.Background()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer null.Close()
	for _, a := range [][2]int{{6, 1}, {6, 0}} {
		p, err := divide.StartCmd(ctx, &proc.Cmd{Stderr: null}, a)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = p.Wait(ctx)
		var e *proc.ExitError
		if errors.As(err, &e) {
			message, _, _ := strings.Cut(string(e.Crash), "\n")
			fmt.Printf("%v: %q, %q, stack: %v\n", e.State, e.Msg, message, strings.Contains(string(e.Crash), "example_test.go"))
		}
	}
	// Output:
	// exit status 1: "that is no division", "", stack: false
	// exit status 2: "", "panic: runtime error: integer divide by zero", stack: true
}

var patient = proc.Register("patient", func(ctx context.Context, _ struct{}) error {
	<-ctx.Done() // SIGTERM
	fmt.Println("told to end")
	return nil
})

// The context of Start governs the process: it is told to end when that ends,
// and killed if it does not in time.
func ExampleCmd() {
	ctx, cancel := context.WithCancel(context.Background()) // or WithTimeout
	defer cancel()
	p, err := patient.StartCmd(ctx, &proc.Cmd{Stdout: os.Stdout, WaitDelay: 10 * time.Second}, struct{}{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("running:", len(proc.Children()))
	cancel()
	state, err := p.Wait(context.Background())
	fmt.Println(state, err)
	// Output:
	// running: 1
	// told to end
	// exit status 0 <nil>
}

// A descriptor of a process that is not ours to wait for: of the parent, say.
func ExampleOpenPidFD() {
	f, err := proc.OpenPidFD(os.Getppid())
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("context deadline exceeded") // before Linux 5.3
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = f.Wait(ctx) // until it ends
	fmt.Println(err)
	// Output: context deadline exceeded
}
