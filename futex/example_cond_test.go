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

// letterbox has room for one number, from the producer to the consumer.
type letterbox struct {
	Mu      futex.RobustMutex
	Changed futex.Cond
	Full    bool // this and the rest is guarded by Mu
	Number  int
	Answer  int
}

var consume = proc.Register("consume", func(ctx context.Context, s *shm.Shared[letterbox]) error {
	b := s.Ptr()
	if err := b.Mu.LockContext(ctx); err != nil {
		return err
	}
	for !b.Full { // a wake may be spurious: look again
		if err := b.Changed.Wait(ctx, &b.Mu); err != nil {
			return errors.Join(err, b.Mu.Unlock())
		}
	}
	b.Answer = 2 * b.Number
	b.Full = false
	return b.Mu.Unlock()
})

// A consumer process waits until the producer says that there is something.
func ExampleCond() {
	ctx := context.Background()
	s, err := shm.New[letterbox](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	consumer, err := consume.Start(ctx, s)
	if err != nil {
		fmt.Println(err)
		return
	}
	time.Sleep(20 * time.Millisecond) // it takes a while to produce
	b := s.Ptr()
	if err := b.Mu.Lock(); err != nil {
		fmt.Println(err)
		return
	}
	b.Number, b.Full = 21, true
	err = errors.Join(b.Changed.Signal(), b.Mu.Unlock())
	if _, werr := consumer.Wait(ctx); err != nil || werr != nil {
		fmt.Println(err, werr)
		return
	}
	fmt.Println("the consumer made", b.Answer, "of", b.Number)
	// Output: the consumer made 42 of 21
}
