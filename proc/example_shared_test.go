package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// desk is what the clerks share in memory: a lock, what it guards, and an event.
type desk struct {
	Mu     futex.RobustMutex
	Served [10]bool
	Open   futex.Event
}

// office is all that a clerk is given.
type office struct {
	Line  *shm.Queue[int]
	Sum   *shm.Value[int64]
	Desk  *shm.Shared[desk]
	Again *shm.Shared[desk] // the same one
	Bell  *pipe.Conn
}

var clerk = proc.Register("clerk", func(ctx context.Context, o office) error {
	if o.Again != o.Desk {
		return errors.New("one object has become two")
	}
	d := o.Desk.Ptr()
	if err := d.Open.Wait(ctx); err != nil {
		return err
	}
	for {
		number, err := o.Line.Recv(ctx)
		if err == io.EOF {
			return o.Bell.Send(ctx, []byte("done"))
		}
		if err != nil {
			return err
		}
		if _, err := shm.Add(o.Sum, int64(number)); err != nil {
			return err
		}
		if err := d.Mu.Lock(); err != nil {
			return err
		}
		d.Served[number] = true
		if err := d.Mu.Unlock(); err != nil {
			return err
		}
	}
})

// Four processes share a queue, a value, a lock, an event and a pipe: Python's
// Process(target=f, args=(queue, value, lock, event, conn)).
func Example() {
	if err := serve(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// done done done done
	// sum 45, all served: true
}

func serve(ctx context.Context) error {
	line, err := shm.NewQueue[int](10)
	if err != nil {
		return err
	}
	defer line.Close()
	sum, err := shm.NewValue(int64(0))
	if err != nil {
		return err
	}
	defer sum.Close()
	shared, err := shm.New[desk](nil)
	if err != nil {
		return err
	}
	defer shared.Close()
	ours, theirs, err := pipe.PacketPair()
	if err != nil {
		return err
	}
	defer ours.Close()
	defer theirs.Close()

	var clerks []*proc.Process
	for range 4 {
		p, err := clerk.Start(ctx, office{Line: line, Sum: sum, Desk: shared, Again: shared, Bell: theirs})
		if err != nil {
			return err
		}
		clerks = append(clerks, p)
	}
	shared.Ptr().Open.Set()
	for number := range 10 {
		if err := line.Send(ctx, number); err != nil {
			return err
		}
	}
	line.CloseSend()
	buf := make([]byte, 10)
	for i := range clerks {
		n, err := ours.Recv(ctx, buf)
		if err != nil {
			return err
		}
		fmt.Print(string(buf[:n]), []string{" ", "\n"}[i/3])
	}
	all := true
	for _, p := range clerks {
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
	}
	for _, served := range shared.Ptr().Served {
		all = all && served
	}
	fmt.Printf("sum %d, all served: %v\n", sum.Load(), all)
	return nil
}

// lonely takes an object that is not for other PID namespaces.
var lonely = proc.Register("lonely", func(context.Context, *shm.Value[int64]) error { return nil })
