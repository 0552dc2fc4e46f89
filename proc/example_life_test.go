package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

var sleepy = proc.Register("sleepy", func(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done(): // SIGTERM
		return ctx.Err()
	}
})

var reader = proc.Register("reader", func(_ context.Context, f *os.File) error {
	_, err := io.Copy(io.Discard, f)
	return err
})

// Python's start, is_alive, join(timeout) and join.
func ExampleProcess_Wait() {
	ctx := context.Background()
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := reader.Start(ctx, r)
	r.Close()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("alive:", p.Alive())
	soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, err = p.Wait(soon) // only the waiting ends
	fmt.Println(errors.Is(err, context.DeadlineExceeded), "alive:", p.Alive())
	w.Close() // the function comes to its end
	state, err := p.Wait(ctx)
	fmt.Println(state, err, "alive:", p.Alive())
	// Output:
	// alive: true
	// true alive: true
	// exit status 0 <nil> alive: false
}

// Python's terminate and kill.
func ExampleProcess_Terminate() {
	ctx := context.Background()
	p, err := sleepy.Start(ctx, time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Terminate() // SIGTERM: the function's ctx ends
	_, err = p.Wait(ctx)
	var e *proc.ExitError
	fmt.Println(errors.As(err, &e), e.State, e.Msg)

	p, err = sleepy.Start(ctx, time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Kill() // SIGKILL: nobody is asked
	_, err = p.Wait(ctx)
	fmt.Println(errors.As(err, &e), e.State)
	// Output:
	// true exit status 1 context canceled
	// true signal: killed
}

type duty struct {
	Name string
	Log  *shm.MessageQueue
}

var guard = proc.Register("guard", func(ctx context.Context, d duty) error {
	if err := d.Log.Send(ctx, fmt.Appendf(nil, "%s begins", d.Name)); err != nil {
		return err
	}
	if d.Name == "guard 2" { // the second doesn't last
		return syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	}
	<-ctx.Done()
	return nil
})

// captain keeps one guard on duty: when one is lost another one begins.
var captain = proc.Register("captain", func(ctx context.Context, log *shm.MessageQueue) error {
	for n := 1; ctx.Err() == nil; n++ {
		p, err := guard.Start(ctx, duty{fmt.Sprint("guard ", n), log})
		if err != nil {
			return err
		}
		if n == 1 {
			p.Kill() // somebody kills the first
		}
		if _, err := p.Wait(ctx); err != nil && ctx.Err() == nil {
			log.Send(ctx, fmt.Appendf(nil, "lost: %v", err.(*proc.ExitError).State))
		}
	}
	return nil
})

// A supervised tree: the program starts a captain, the captain its guards, and
// begins anew with each that is lost. When the captain is killed, by SIGKILL
// even, the kernel takes the guard along, and nobody has to remember its pid.
func ExampleFunc_Start_supervisor() {
	ctx := context.Background()
	log, err := shm.NewMessageQueue(4096)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer log.Close()
	p, err := captain.Start(ctx, log)
	if err != nil {
		fmt.Println(err)
		return
	}
	for line, err := range log.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if string(line) == "guard 3 begins" {
			break
		}
		if string(line) != "guard 1 begins" { // it may be killed before
			fmt.Printf("%s\n", line)
		}
	}
	p.Kill()
	state, _ := p.Wait(ctx)
	fmt.Println("captain:", state)
	// Output:
	// lost: signal: killed
	// guard 2 begins
	// lost: signal: killed
	// captain: signal: killed
}
