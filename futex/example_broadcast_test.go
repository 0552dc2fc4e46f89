package futex_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// shelf is what a baker fills and customers empty.
type shelf struct {
	Mu     futex.RobustMutex
	Filled futex.Cond
	Loaves int // this and the rest is guarded by Mu
	Sold   [5]int
}

type customer struct {
	Shelf  *shm.Shared[shelf]
	Number int
	Wants  int
}

var buy = proc.Register("buy", func(ctx context.Context, c customer) error {
	s := c.Shelf.Ptr()
	if err := s.Mu.LockContext(ctx); err != nil {
		return err
	}
	// All are woken, and the first ones may leave too little: look again.
	err := s.Filled.WaitFor(ctx, &s.Mu, func() bool { return s.Loaves >= c.Wants })
	if err == nil {
		s.Loaves -= c.Wants
		s.Sold[c.Number] = c.Wants
	}
	return errors.Join(err, s.Mu.Unlock())
})

// Five consumers wait for the same thing, each until there is enough for it.
// One producer changes it and wakes them all.
func ExampleCond_Broadcast() {
	ctx := context.Background()
	s, err := shm.New[shelf](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	var customers [5]*proc.Process
	for i := range customers {
		if customers[i], err = buy.Start(ctx, customer{s, i, i + 1}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for range 5 {
		time.Sleep(10 * time.Millisecond)
		if err := s.Ptr().Mu.Lock(); err != nil {
			fmt.Println(err)
			return
		}
		s.Ptr().Loaves += 3
		if err := errors.Join(s.Ptr().Filled.Broadcast(), s.Ptr().Mu.Unlock()); err != nil {
			fmt.Println(err)
			return
		}
	}
	for i, c := range customers {
		if _, err := c.Wait(ctx); err != nil {
			fmt.Println(err)
		}
		fmt.Println("customer", i, "bought", s.Ptr().Sold[i])
	}
	fmt.Println("left:", s.Ptr().Loaves)
	// Output:
	// customer 0 bought 1
	// customer 1 bought 2
	// customer 2 bought 3
	// customer 3 bought 4
	// customer 4 bought 5
	// left: 0
}
