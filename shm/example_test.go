package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// account is shared: a lock, and what it guards.
type account struct {
	Mu      futex.Mutex
	Balance int64
}

var deposit = proc.Register("deposit", func(_ context.Context, a *shm.Shared[account]) error {
	for range 1000 {
		a.Ptr().Mu.Lock()
		a.Ptr().Balance++
		a.Ptr().Mu.Unlock()
	}
	return nil
})

// Two processes add to one number under one lock.
func ExampleShared() {
	ctx := context.Background()
	a, err := shm.New[account](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	var children []*proc.Process
	for range 2 {
		p, err := deposit.Start(ctx, a)
		if err != nil {
			fmt.Println(err)
			return
		}
		children = append(children, p)
	}
	for _, p := range children {
		if _, err := p.Wait(ctx); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(a.Ptr().Balance)
	// Output: 2000
}

var count = proc.Register("count", func(ctx context.Context, w *shm.RingWriter) error {
	for i := range 3 {
		if err := w.Send(ctx, fmt.Append(nil, "message ", i)); err != nil {
			return err
		}
	}
	return w.CloseSend()
})

// One process writes messages, another reads them.
func ExampleNewRing() {
	ctx := context.Background()
	w, r, err := shm.NewRing(4096)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	defer r.Close()
	p, err := count.Start(ctx, w)
	if err != nil {
		fmt.Println(err)
		return
	}
	buf := make([]byte, 100)
	for {
		n, err := r.Recv(ctx, buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", buf[:n])
	}
	p.Wait(ctx)
	// Output:
	// message 0
	// message 1
	// message 2
}
