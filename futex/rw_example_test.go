package futex_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// prices are read by many processes and changed by few.
type prices struct {
	Mu          futex.RWMutex
	Bread, Milk int
}

// updatePrices is a process of its own.
var updatePrices = proc.Register("updatePrices", func(ctx context.Context, s *shm.Shared[prices]) error {
	p := s.Ptr()
	if err := p.Mu.LockContext(ctx); err != nil {
		return err
	}
	p.Bread, p.Milk = 3, 2
	return p.Mu.Unlock()
})

// A table that processes read together and change alone. A process that dies
// inside does not keep the others out.
func ExampleRWMutex() {
	ctx := context.Background()
	s, err := shm.New[prices](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	child, err := updatePrices.Start(ctx, s)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := child.Wait(ctx); err != nil {
		fmt.Println(err)
		return
	}
	p := s.Ptr()
	if err := p.Mu.RLock(); errors.Is(err, futex.ErrOwnerDead) {
		fmt.Println("a writer died; the prices may be half changed")
	} else if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Bread, p.Milk)
	p.Mu.RUnlock()
	// Output: 3 2
}

// An Owner can lock again what it holds, as a function does that is called with
// the lock and without.
func ExampleRecursiveMutex() {
	s, err := shm.New[futex.RecursiveMutex](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	mu, me := s.Ptr(), futex.NewOwner()
	fmt.Println(mu.Lock(me), mu.Lock(me))
	got, _ := mu.TryLock(futex.NewOwner()) // another goroutine's
	fmt.Println("another got it:", got)
	fmt.Println(mu.Unlock(me), mu.Unlock(me))
	fmt.Println("once too often:", mu.Unlock(me) != nil)
	// Output:
	// <nil> <nil>
	// another got it: false
	// <nil> <nil>
	// once too often: true
}
