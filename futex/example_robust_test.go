package futex_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// ledger is what five workers write to, one at a time.
type ledger struct {
	Mu    futex.RobustMutex
	Sum   int // this and the rest is guarded by Mu
	Lines [5]int
}

type entry struct {
	Ledger *shm.Shared[ledger]
	Worker int
}

var book = proc.Register("book", func(_ context.Context, e entry) (err error) {
	l := e.Ledger.Ptr()
	for range 100 {
		if err := l.Mu.Lock(); err != nil {
			return err
		}
		l.Lines[e.Worker]++
		l.Sum++
		if err := l.Mu.Unlock(); err != nil {
			return err
		}
	}
	return nil
})

// Python's Lock: five processes write to the same memory, one at a time.
func ExampleRobustMutex() {
	ctx := context.Background()
	s, err := shm.New[ledger](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	var workers [5]*proc.Process
	for i := range workers {
		if workers[i], err = book.Start(ctx, entry{s, i}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for _, w := range workers {
		if _, err := w.Wait(ctx); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(s.Ptr().Sum, s.Ptr().Lines)
	// Output: 500 [100 100 100 100 100]
}

// tally counts votes twice over; that the two agree is what the lock is for.
type tally struct {
	Mu       futex.RobustMutex
	Yes, All int
}

// count locks t and repairs it if the last owner died in between.
func (t *tally) count() error {
	err := t.Mu.Lock()
	if errors.Is(err, futex.ErrOwnerDead) { // and we hold the lock
		t.All = t.Yes
		err = t.Mu.MarkConsistent()
	}
	if err != nil {
		return err
	}
	t.Yes++
	t.All++
	return t.Mu.Unlock()
}

var vote = proc.Register("vote", func(_ context.Context, s *shm.Shared[tally]) error {
	for range 100 {
		if err := s.Ptr().count(); err != nil {
			return err
		}
	}
	return nil
})

var voteAndDie = proc.Register("voteAndDie", func(_ context.Context, s *shm.Shared[tally]) error {
	if err := s.Ptr().Mu.Lock(); err != nil {
		return err
	}
	s.Ptr().Yes++ // and never All++, nor Unlock
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
})

// A counter that survives kill -9: a process dies with the lock in its hand and
// the count half changed. The next one to lock is told, repairs it and goes on.
func ExampleRobustMutex_MarkConsistent() {
	ctx := context.Background()
	s, err := shm.New[tally](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	victim, err := voteAndDie.Start(ctx, s)
	if err != nil {
		fmt.Println(err)
		return
	}
	state, _ := victim.Wait(ctx)
	fmt.Println("one voter:", state)
	var voters [2]*proc.Process
	for i := range voters {
		if voters[i], err = vote.Start(ctx, s); err != nil {
			fmt.Println(err)
			return
		}
	}
	for _, v := range voters {
		if _, err := v.Wait(ctx); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("votes:", s.Ptr().Yes, s.Ptr().All)
	// Output:
	// one voter: signal: killed
	// votes: 201 201
}
