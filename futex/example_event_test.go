package futex_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// race is three runners and the shot that they wait for.
type race struct {
	Ready atomic.Int32
	Shot  futex.Event
	Ran   [3]atomic.Bool
}

type lane struct {
	Race   *shm.Shared[race]
	Number int
}

var runLane = proc.Register("runLane", func(ctx context.Context, l lane) error {
	r := l.Race.Ptr()
	r.Ready.Add(1)
	if err := r.Shot.Wait(ctx); err != nil {
		return err
	}
	r.Ran[l.Number].Store(true)
	return nil
})

// Three processes wait for an event, the parent sets it, all go on.
func ExampleEvent() {
	ctx := context.Background()
	s, err := shm.New[race](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	r := s.Ptr()
	var runners [3]*proc.Process
	for i := range runners {
		if runners[i], err = runLane.Start(ctx, lane{s, i}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for r.Ready.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	for i := range runners {
		fmt.Println("runner", i, "ran before the shot:", r.Ran[i].Load())
	}
	r.Shot.Set()
	for i, p := range runners {
		if _, err := p.Wait(ctx); err != nil {
			fmt.Println(err)
		}
		fmt.Println("runner", i, "ran:", r.Ran[i].Load())
	}
	// Output:
	// runner 0 ran before the shot: false
	// runner 1 ran before the shot: false
	// runner 2 ran before the shot: false
	// runner 0 ran: true
	// runner 1 ran: true
	// runner 2 ran: true
}
