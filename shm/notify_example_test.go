package shm_test

import (
	"context"
	"fmt"
	"os"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// One poll waits for a queue and for a pipe.
func ExampleNotifier() {
	ctx := context.Background()
	q, err := shm.NewQueue[int](8)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close()
	n, err := q.Notify()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer n.Close()
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	go func() { // in another process, as a rule
		defer w.Close()
		for i := range 3 {
			q.Send(ctx, i)
		}
		q.CloseSend()
	}()
	set := []unix.PollFd{{Fd: int32(n.Fd()), Events: unix.POLLIN}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
	sum, ended, hungUp := 0, false, false
	for !ended || !hungUp {
		if _, err := unix.Poll(set, -1); err != nil && err != unix.EINTR {
			fmt.Println(err)
			return
		}
		if set[1].Revents != 0 {
			hungUp, set[1].Fd = true, -1
		}
		if set[0].Revents == 0 {
			continue
		}
		v, ok, err := q.TryRecv()
		for ; ok; v, ok, err = q.TryRecv() {
			sum += v
		}
		if err != nil { // io.EOF
			ended, set[0].Fd = true, -1
		} else if err := n.Arm(); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("sum", sum, "and the pipe is closed")
	// Output:
	// sum 3 and the pipe is closed
}
